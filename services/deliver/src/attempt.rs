//! One attempt at a delivery: send, judge, record.
//!
//! It decides nothing that [`verdict`](crate::verdict) does not, and writes nothing.

use std::time::{Duration, Instant};

use chassis::Span;
use domain::{breaker::State, dead_letter::Reason, offset_map::Head, time::UnixMillis};
use http_io::{Answer, Failure};
use wire::Receipt;

use crate::{
    gate::{Gate, Prepared, Slot},
    held::{End, GivenUp, Held, Now, Tried},
    receipts, request,
    series::Attempt,
    shared::Shared,
    told::{Told, What},
    verdict::{self, Next, Verdict},
};

/// Makes the next attempt at a held delivery, in the slot it was given.
///
/// # Cancellation
/// The request may have been sent; its record is not completed, so it is tried again.
pub(crate) async fn run(mut held: Box<Held>, slot: Slot, gate: &Gate, shared: &Shared) -> Tried {
    let Slot { prepared, leave } = slot;
    let begun = shared.now();
    held.begin(shared.both(), gate.stood_still());
    let method = method(&held, &prepared).to_owned();
    let mut span = held.story.attempt(&shared.tracer, &method, held.attempts, gate);
    let traceparent = prepared.destination.spec.propagate_trace.then(|| span.context().to_string());
    let request =
        request::build(&held.delivery, &held.body, &prepared, traceparent.as_deref(), begun);
    let end = match request {
        Ok(request) => {
            let spec = &prepared.destination.spec;
            let breaker = leave.breaker();
            let inflight = Inflight::enter(gate);
            let result = shared.client.send(request, spec.protocol, spec.timeout).await;
            let now = shared.now();
            leave.ended(verdict::signals(&result, spec, now));
            drop(inflight);
            shared.hook.hit("deliver.after_response");
            let (held, prepared, result) = (&*held, &*prepared, &result);
            let method = &method;
            let made = Made { held, gate, prepared, shared, method, breaker, result, begun, now };
            made.end(&mut span)
        }
        Err(invalid) => {
            let why = unsendable(&invalid);
            span.fail(&why.message);
            let receipt = receipts::of_unsendable(&held, &why, shared.now());
            End::GivenUp { why, receipt: Box::new(receipt) }
        }
    };
    Tried { held, end }
}

fn method<'a>(held: &'a Held, prepared: &'a Prepared) -> &'a str {
    match held.delivery.request.method.as_str() {
        "" => &prepared.destination.spec.method,
        method => method,
    }
}

fn unsendable(invalid: &request::Invalid) -> GivenUp {
    GivenUp {
        reason: Reason::InvalidResult,
        error_type: "invalid_request".to_owned(),
        message: invalid.to_string(),
    }
}

/// An attempt that was made, and those who want to know of it.
struct Made<'a> {
    held: &'a Held,
    gate: &'a Gate,
    prepared: &'a Prepared,
    shared: &'a Shared,
    method: &'a str,
    /// When it was given leave.
    breaker: State,
    result: &'a Result<Answer, Failure>,
    begun: UnixMillis,
    now: UnixMillis,
}

impl Made<'_> {
    fn end(&self, span: &mut Span) -> End {
        let verdict = self.judge();
        self.count(verdict);
        self.describe(span, verdict);
        self.tell(verdict);
        let secrets = &self.prepared.secrets;
        let receipt = receipts::of_attempt(self.held, self.result, verdict, secrets, self.now);
        let receipt = Box::new(Receipt { breaker: self.breaker.into(), ..receipt });
        match verdict.next {
            Next::Settled => End::Delivered(receipt),
            Next::Again { at } => {
                self.log(verdict);
                End::Again { at, receipt }
            }
            Next::DeadLetter(reason) => {
                End::GivenUp { why: receipts::given_up(reason, self.result), receipt }
            }
            Next::Gone => End::Gone { begun: self.begun, receipt },
        }
    }

    fn judge(&self) -> Verdict {
        let rules = &self.prepared.destination.spec;
        verdict::judge(self.result, rules, self.head(), rand::random(), self.now)
    }

    fn head(&self) -> Head {
        self.held.head(Now { wall: self.now, steady: Instant::now() }, self.gate.stood_still())
    }

    fn count(&self, verdict: Verdict) {
        self.gate.series.attempted(&Attempt {
            method: known(self.method),
            number: self.held.attempts,
            outcome: verdict.outcome,
            status: status(self.result),
            error_type: error_type(self.result),
            seconds: took(self.result).as_secs_f64(),
        });
        if verdict.next == Next::Settled {
            let since = self.since_received().as_secs_f64();
            self.gate.series.delivered(self.held.attempts, since);
        }
    }

    fn describe(&self, span: &mut Span, verdict: Verdict) {
        if !span.is_recorded() {
            return;
        }
        span.set_str("millrace.outcome", verdict.outcome.label());
        if let Some(status) = status(self.result) {
            span.set_int("http.response.status_code", i64::from(status));
        }
        match self.result {
            Ok(answer) if answer.status.as_u16() < 400 => {}
            Ok(answer) => {
                span.set_str("error.type", answer.status.as_str());
                span.fail(answer.status.as_str());
            }
            Err(failure) => {
                span.set_str("error.type", failure.error_type());
                span.fail(failure.error_type());
            }
        }
    }

    fn tell(&self, verdict: Verdict) {
        let Some(listener) = &self.shared.listener else { return };
        let again_in = match verdict.next {
            Next::Again { at } => Some(at.since(self.now)),
            Next::Settled | Next::DeadLetter(_) | Next::Gone => None,
        };
        let what = What::Attempted {
            number: self.held.attempts,
            outcome: verdict.outcome,
            status: status(self.result),
            took: took(self.result),
            since_received: self.since_received(),
            again_in,
        };
        listener(Told::of(&self.held.delivery, what));
    }

    fn log(&self, verdict: Verdict) {
        tracing::debug!(
            destination = self.gate.name,
            delivery_id = self.held.delivery.delivery_id,
            attempt = self.held.attempts,
            outcome = verdict.outcome.label(),
            reason = verdict::describe(self.result),
            "attempt failed, another follows"
        );
    }

    fn since_received(&self) -> Duration {
        self.now.since(UnixMillis(self.held.delivery.received_ms))
    }
}

/// A mapping may set any method; as a label only the usual ones stand.
fn known(method: &str) -> &str {
    match method {
        "POST" | "PUT" | "PATCH" | "DELETE" | "GET" | "HEAD" | "OPTIONS" => method,
        _ => "_OTHER",
    }
}

fn status(result: &Result<Answer, Failure>) -> Option<u16> {
    match result {
        Ok(answer) => Some(answer.status.as_u16()),
        Err(failure) => failure.status().map(|status| status.as_u16()),
    }
}

fn took(result: &Result<Answer, Failure>) -> Duration {
    let latency = match result {
        Ok(answer) => answer.latency,
        Err(failure) => failure.latency(),
    };
    latency.total.unwrap_or_default()
}

/// A failure's class; of an answer the class of its status says enough.
fn error_type(result: &Result<Answer, Failure>) -> &'static str {
    match result {
        Ok(_) => "",
        Err(failure) => failure.error_type(),
    }
}

/// Counts a request in flight until it is dropped, however that comes about.
struct Inflight<'a>(&'a Gate);

impl<'a> Inflight<'a> {
    fn enter(gate: &'a Gate) -> Self {
        gate.series.inflight.inc();
        Self(gate)
    }
}

impl Drop for Inflight<'_> {
    fn drop(&mut self) {
        self.0.series.inflight.dec();
    }
}
