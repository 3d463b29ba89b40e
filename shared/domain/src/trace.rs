//! Where in a trace something happens: the W3C trace context, as every hop passes it on.
//!
//! Pure: making random ids is the tracer's work.

use std::fmt;

/// A span's place in its trace; enough to continue the trace elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent`; anything that the W3C text forbids is `None`, so that a bad one
    /// starts a new trace and never fails a record.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let bytes = traceparent.as_bytes();
        let separated = bytes.len() >= 55 && [2, 35, 52].iter().all(|at| bytes[*at] == b'-');
        if !separated {
            return None;
        }
        let version = octets::<1>(&bytes[..2])?[0];
        // Version 0 has exactly this length; a later one may say more after a hyphen.
        let fits = match version {
            0 => bytes.len() == 55,
            0xff => false,
            _ => bytes.len() == 55 || bytes[55] == b'-',
        };
        let trace_id = octets::<16>(&bytes[3..35])?;
        let span_id = octets::<8>(&bytes[36..52])?;
        let flags = octets::<1>(&bytes[53..55])?[0];
        let valid = fits && trace_id != [0; 16] && span_id != [0; 8];
        valid.then_some(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }

    /// Returns the trace's id as 32 hex digits.
    pub fn trace_id_text(&self) -> String {
        hex::encode(self.trace_id)
    }

    /// Returns the span's id as 16 hex digits.
    pub fn span_id_text(&self) -> String {
        hex::encode(self.span_id)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut trace, mut span) = ([0; 32], [0; 16]);
        write!(
            f,
            "00-{}-{}-{}",
            digits(&self.trace_id, &mut trace),
            digits(&self.span_id, &mut span),
            if self.sampled { "01" } else { "00" },
        )
    }
}

fn digits<'a>(bytes: &[u8], buffer: &'a mut [u8]) -> &'a str {
    hex::encode_to_slice(bytes, buffer).expect("the buffer is twice as long");
    std::str::from_utf8(buffer).expect("hex digits are text")
}

/// Reads lower-case hex digits, two for a byte.
fn octets<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut octets = [0; N];
    if digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    hex::decode_to_slice(digits, &mut octets).ok()?;
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_reads_back_as_it_was_written() {
        let context = TraceContext::parse(GOOD).expect("it is valid");
        assert!(context.sampled);
        assert_eq!(context.to_string(), GOOD);
        assert_eq!(context.trace_id_text(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id_text(), "00f067aa0ba902b7");
        let unsampled = GOOD.replace("-01", "-00");
        assert_eq!(TraceContext::parse(&unsampled).expect("it is valid").to_string(), unsampled);
    }

    #[test]
    fn unknown_flags_and_later_versions_are_taken_as_far_as_they_are_known() {
        assert!(TraceContext::parse(&GOOD.replace("-01", "-03")).expect("it is valid").sampled);
        assert!(TraceContext::parse(&format!("01{}", &GOOD[2..])).is_some());
        assert!(TraceContext::parse(&format!("01{}-what-comes", &GOOD[2..])).is_some());
    }

    #[test]
    fn what_the_text_forbids_is_no_context() {
        for bad in [
            String::new(),
            GOOD[..54].to_owned(),
            format!("ff{}", &GOOD[2..]),
            format!("{GOOD}-more"),
            format!("01{}x", &GOOD[2..]),
            GOOD.to_uppercase(),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace('-', "_"),
            GOOD.replace("4bf9", "4bfg"),
            "äöü".repeat(20),
        ] {
            assert_eq!(TraceContext::parse(&bad), None, "{bad}");
        }
    }
}
