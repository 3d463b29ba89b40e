//! Compiles programs for their purpose and runs them.

use std::{
    fmt,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use vrl::{
    compiler::{
        CompileConfig, ExpressionError, TimeZone, compile_with_external,
        runtime::{Runtime, Terminate},
        state::{ExternalEnv, RuntimeState},
    },
    diagnostic::{DiagnosticList, Formatter},
    path::{OwnedSegment, OwnedTargetPath, PathPrefix},
    value::{Kind, Value},
};

use crate::{
    STEPS_MAX,
    error::{CompileError, Failed},
    expression::Path,
    functions,
    input::{self, Event, Input},
    request::{self, Mapped, PARTS},
    target::Overlay,
};

/// What a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// True or false of an event; changes nothing.
    Condition,
    /// Makes a request: `.` becomes the body, `%request` the rest, `%key` the ordering key.
    Mapping,
    /// A value of the body, such as its ordering key; changes nothing and sees no `%`.
    Expression,
}

/// A compiled program; shared freely between threads.
pub struct Program {
    program: vrl::compiler::Program,
    timezone: TimeZone,
    name: String,
    version: String,
    /// Where an expression is a plain path.
    path: Option<Path>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("name", &self.name).field("version", &self.version).finish()
    }
}

impl Program {
    /// Compiles `text`; `name` says in messages which program it is.
    ///
    /// # Errors
    /// The compiler's words and the place of the first mistake, all of them rendered.
    pub fn compile(text: &str, name: &str, purpose: Use) -> Result<Self, CompileError> {
        let environment = ExternalEnv::new_with_kind(Kind::json(), input::metadata_kind());
        let functions = functions::allowed();
        let compiled = compile_with_external(text, &functions, &environment, config(purpose))
            .map_err(|diagnostics| refused(text, diagnostics))?;
        let program = compiled.program;
        check_metadata(text, &program, purpose)?;
        check_result(text, &program, purpose)?;
        let timezone = TimeZone::parse("UTC").unwrap_or_default();
        let version = hex::encode(&Sha256::digest(text.as_bytes())[..6]);
        let path = if purpose == Use::Expression { Path::parse(text) } else { None };
        Ok(Self { program, timezone, name: name.to_owned(), version, path })
    }

    /// Returns 12 hex digits that change with the program's text.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns what the program is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says whether the event meets the condition.
    ///
    /// # Errors
    /// Where the program fails on this event, or gives something else than true or false.
    pub fn matches(&self, input: &Input<'_>) -> Result<bool, Failed> {
        match self.run(input, &mut Overlay::new(input))? {
            Some(Value::Boolean(matches)) => Ok(matches),
            Some(other) => {
                let kind = other.kind_str();
                Err(Failed::mapping(format!("{} gave a {kind}, not true or false", self.name)))
            }
            None => Ok(false),
        }
    }

    /// Makes a request of the event.
    ///
    /// # Errors
    /// Where the program fails on this event, or its result is no request.
    pub fn map(&self, input: &Input<'_>) -> Result<Mapped, Failed> {
        let mut made = Overlay::new(input);
        match self.run(input, &mut made)? {
            Some(_) => request::take(input, made).map(Mapped::Request),
            None => Ok(Mapped::Filtered),
        }
    }

    /// Returns the expression's value as text: of a string, a number or a boolean that is not empty.
    pub fn extract(&self, body: &[u8], content_type: &str) -> Option<String> {
        let found = match &self.path {
            Some(path) => path.find(body)?,
            None => self.evaluate(Bytes::copy_from_slice(body), content_type)?,
        };
        (!found.is_empty()).then_some(found)
    }

    fn evaluate(&self, body: Bytes, content_type: &str) -> Option<String> {
        let event = Event {
            id: "",
            source: "",
            event_type: "",
            subject: None,
            time_ms: 0,
            received_ms: 0,
            correlation_id: "",
            content_type,
            headers: &[],
            body: &body,
        };
        let input = Input::parse(event);
        let value = self.run(&input, &mut Overlay::new(&input)).ok()??;
        match value {
            Value::String(_)
            | Value::Bytes(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Timestamp(_) => Some(value.to_string_lossy().into_owned()),
            Value::Null | Value::Regex(_) | Value::Object(_) | Value::Array(_) => None,
        }
    }

    /// Runs the program within its budget; `None` is `abort`.
    fn run(&self, input: &Input<'_>, target: &mut Overlay<'_>) -> Result<Option<Value>, Failed> {
        if let Some(refused) = &input.refused {
            return Err(refused.clone());
        }
        let mut steps = STEPS_MAX;
        let mut control = || {
            steps = steps.saturating_sub(1);
            if steps == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut runtime = Runtime::new(RuntimeState::default());
        let resolve =
            || runtime.resolve_with_control(target, &self.program, &self.timezone, &mut control);
        // A defect of the library on some input is that event's failure, not the process's end.
        match catch_unwind(AssertUnwindSafe(resolve)) {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(Terminate::Abort(ExpressionError::Abort { .. }))) => Ok(None),
            Ok(Err(Terminate::Interrupted)) => {
                let why = format!("{} took more than {STEPS_MAX} steps", self.name);
                Err(Failed::mapping(why))
            }
            Ok(Err(Terminate::Abort(error) | Terminate::Error(error))) => {
                Err(Failed::mapping(format!("{}: {error}", self.name)))
            }
            Err(_) => Err(Failed::mapping(format!("{}: the function library failed", self.name))),
        }
    }
}

fn config(purpose: Use) -> CompileConfig {
    let mut config = CompileConfig::default();
    match purpose {
        Use::Condition | Use::Expression => config.set_read_only(),
        Use::Mapping => {
            for field in input::FIELDS {
                let path = OwnedTargetPath::metadata(vrl::owned_value_path!(field));
                config.set_read_only_path(path, true);
            }
        }
    }
    config
}

/// Turns the compiler's diagnostics into one error; a refused function is said to be one.
fn refused(text: &str, diagnostics: DiagnosticList) -> CompileError {
    let errors = diagnostics.errors();
    let first = errors.first().copied().or_else(|| diagnostics.iter().next());
    let label = first.and_then(|d| d.labels().iter().find(|l| l.primary).or(d.labels().first()));
    let span = label.map_or(0..0, |label| label.span.range());
    let named = text.get(span.clone()).unwrap_or_default();
    let message = match (functions::why_refused(named), first) {
        (Some(why), _) => format!("function {named:?} can't be called: {why}"),
        (None, Some(first)) => first.message().to_owned(),
        (None, None) => "it does not compile".to_owned(),
    };
    let (line, column) = position(text, span.start);
    let rendered = Formatter::new(text, diagnostics).to_string();
    CompileError { message, line, column, rendered: rendered.trim_start().to_owned() }
}

/// A mistake of ours, at the first place where `part` stands.
fn mistake(text: &str, part: &str, message: String) -> CompileError {
    let (line, column) = position(text, text.find(part).unwrap_or(0));
    let shown = text.lines().nth(line - 1).unwrap_or_default();
    let rendered = format!("{line:>4} | {shown}\n     | {}^ {message}", " ".repeat(column - 1));
    CompileError { message, line, column, rendered }
}

fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Every `%` of the program has to be one that means something.
fn check_metadata(
    text: &str,
    program: &vrl::compiler::Program,
    purpose: Use,
) -> Result<(), CompileError> {
    let info = program.info();
    for path in info.target_queries.iter().chain(&info.target_assignments) {
        if path.prefix != PathPrefix::Metadata {
            continue;
        }
        let mut fields = path.path.segments.iter().map(|segment| match segment {
            OwnedSegment::Field(name) => name.as_str(),
            OwnedSegment::Index(_) => "",
        });
        let (first, second) = (fields.next(), fields.next());
        let known = match (first, second) {
            (None, _) => true,
            (Some("request"), Some(part)) => PARTS.contains(&part),
            (Some("request" | "key"), None) => true,
            (Some(field), _) => input::FIELDS.contains(&field),
        };
        let ours = !matches!(first, Some("request" | "key"));
        let message = if purpose == Use::Expression {
            format!("%{} is not known yet: a key is taken from the body", first.unwrap_or_default())
        } else if !known && ours {
            let fields = input::FIELDS.join(", %");
            format!("%{} means nothing: use %{fields}", first.unwrap_or_default())
        } else if !known {
            let parts = PARTS.join(", %request.");
            format!("%request.{} means nothing: set %request.{parts}", second.unwrap_or_default())
        } else {
            continue;
        };
        return Err(mistake(text, &format!("%{}", first.unwrap_or_default()), message));
    }
    Ok(())
}

/// A condition gives a boolean; what a mapping sets has a type that can be sent.
fn check_result(
    text: &str,
    program: &vrl::compiler::Program,
    purpose: Use,
) -> Result<(), CompileError> {
    let info = program.final_type_info();
    match purpose {
        Use::Expression => Ok(()),
        Use::Condition if info.result.is_boolean() => Ok(()),
        Use::Condition => {
            let kind = info.result.kind();
            let message = format!(
                "a condition is true or false, and this is {kind}: compare it, e.g. == true"
            );
            Err(mistake(text, text.trim(), message))
        }
        Use::Mapping => {
            let metadata = info.state.external.metadata_kind();
            let at = |path| metadata.at_path(&path);
            let texts = ["method", "path", "content_type"];
            for (name, kind) in texts.map(|n| (n, at(vrl::owned_value_path!("request", n)))) {
                if !(kind.contains_bytes() || kind.contains_null() || kind.contains_undefined()) {
                    let message = format!("%request.{name} has to be a string, and this is {kind}");
                    return Err(mistake(text, &format!("%request.{name}"), message));
                }
            }
            for (name, kind) in
                ["query", "headers"].map(|n| (n, at(vrl::owned_value_path!("request", n))))
            {
                if !(kind.contains_object() || kind.contains_null() || kind.contains_undefined()) {
                    let message =
                        format!("%request.{name} has to be an object, and this is {kind}");
                    return Err(mistake(text, &format!("%request.{name}"), message));
                }
            }
            Ok(())
        }
    }
}
