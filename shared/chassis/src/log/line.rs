//! One event as one line of JSON.

use std::{fmt, time::Instant};

use parking_lot::Mutex;
use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::rate::Rate;

/// Writes lines; services of one process are told apart by the crate that speaks.
pub(super) struct Json {
    pub(super) service: &'static str,
    pub(super) version: &'static str,
    pub(super) rate: Mutex<Rate<Identifier>>,
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _around: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        let mut suppressed = 0;
        if level <= Level::WARN {
            match self.rate.lock().admit(event.metadata().callsite(), Instant::now()) {
                Some(left_out) => suppressed = left_out,
                None => return Ok(()),
            }
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        if suppressed > 0 {
            fields.rest.insert("suppressed".to_owned(), suppressed.into());
        }
        self.write(&mut writer, level, event.metadata().target(), fields)
    }
}

impl Json {
    fn write(
        &self,
        to: &mut Writer<'_>,
        level: Level,
        target: &str,
        fields: Fields,
    ) -> fmt::Result {
        let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let service = service_of(target).unwrap_or(self.service);
        let head: [(&str, &str); 6] = [
            ("timestamp", &now),
            ("level", level.as_str()),
            ("message", &fields.message),
            ("target", target),
            ("service.name", service),
            ("service.version", self.version),
        ];
        to.write_char('{')?;
        for (place, (key, text)) in head.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(to, "{comma}\"{key}\":{}", Value::from(*text))?;
        }
        for (key, value) in &fields.rest {
            write!(to, ",{}:{value}", Value::from(key.as_str()))?;
        }
        to.write_str("}\n")
    }
}

/// A service's crate bears its name.
fn service_of(target: &str) -> Option<&'static str> {
    match target.split("::").next()? {
        "ingest" => Some("millrace-ingest"),
        "transform" => Some("millrace-transform"),
        "deliver" => Some("millrace-deliver"),
        "dlq_replayer" => Some("millrace-dlq-replayer"),
        _ => None,
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        // The head's own names can't be taken by a field.
        let name = match field.name() {
            "timestamp" | "level" | "target" => format!("field.{}", field.name()),
            name => name.strip_prefix("r#").unwrap_or(name).to_owned(),
        };
        self.rest.insert(name, value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            _ => self.put(field, text.into()),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.put(field, value.into()),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, value.to_string().into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{io, sync::Arc, time::Duration};

    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Memory {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn logged(speak: impl FnOnce()) -> Vec<Value> {
        let memory = Memory::default();
        let rate = Mutex::new(Rate::new(2, Duration::from_secs(60)));
        let json = Json { service: "millrace", version: "1.2.3", rate };
        let layer = tracing_subscriber::fmt::layer().with_writer(memory.clone()).event_format(json);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), speak);
        let text = String::from_utf8(memory.0.lock().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_one_object_with_the_contract_s_names() {
        let lines = logged(|| {
            tracing::info!(target: "deliver::lane", destination = %"crm", attempt = 2, "error.type" = "timeout", "postponed\n\"x\"");
        });
        let line = &lines[0];
        assert_eq!(line["message"], "postponed\n\"x\"");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["service.name"], "millrace-deliver");
        assert_eq!(line["service.version"], "1.2.3");
        assert_eq!((&line["destination"], &line["attempt"]), (&"crm".into(), &2.into()));
        assert_eq!(line["error.type"], "timeout");
        let at = line["timestamp"].as_str().unwrap();
        assert!(OffsetDateTime::parse(at, &Rfc3339).is_ok(), "{at}");
    }

    #[test]
    fn a_warning_that_repeats_is_cut_and_an_info_is_not() {
        let lines = logged(|| {
            for n in 0..5 {
                tracing::warn!(n, "again");
                tracing::info!(n, "state changed");
            }
        });
        let warnings = lines.iter().filter(|line| line["level"] == "WARN").count();
        assert_eq!((warnings, lines.len()), (2, 7));
    }
}
