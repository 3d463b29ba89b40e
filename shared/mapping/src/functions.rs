//! Which of the language's functions a program may call, and why the others are refused.

use vrl::compiler::Function;

const AGAIN: &str = "it gives another result each time, so a repeated event would give another \
                     request: take the event's %time or %id";
const SIZE: &str = "a small input can make it fill the memory";
const TIME: &str = "its time is not bounded by its input: use parse_regex";
const YEAR: &str = "it takes the year from the clock: use parse_regex and parse_timestamp";

/// What can't be called, although the library has it. Those of its network, environment, system
/// and cryptographic parts are not built in at all.
const REFUSED: &[(&str, &str)] = &[
    ("decode_gzip", SIZE),
    ("decode_lz4", SIZE),
    ("decode_snappy", SIZE),
    ("decode_zlib", SIZE),
    ("decode_zstd", SIZE),
    ("log", "a payload does not belong in the log: use abort or an error"),
    ("now", AGAIN),
    ("parse_grok", TIME),
    ("parse_groks", TIME),
    ("parse_klog", YEAR),
    ("parse_linux_authorization", YEAR),
    ("parse_syslog", YEAR),
    ("random_bool", AGAIN),
    ("random_bytes", AGAIN),
    ("random_float", AGAIN),
    ("random_int", AGAIN),
    ("range", SIZE),
    ("set", "an index in its path can make it fill the memory: assign, or use merge"),
    ("uuid_v4", AGAIN),
    ("uuid_v7", AGAIN),
];

const OUTSIDE: &[&str] = &[
    "dns_lookup",
    "get_env_var",
    "get_hostname",
    "get_secret",
    "get_timezone_name",
    "http_request",
    "reverse_dns",
];

/// The functions a program may call.
pub(crate) fn allowed() -> Vec<Box<dyn Function>> {
    let mut functions = vrl::stdlib::all();
    functions.retain(|f| why_refused(f.identifier()).is_none());
    functions
}

/// Says why a function can't be called, `None` for one that can, or that does not exist.
pub(crate) fn why_refused(name: &str) -> Option<&'static str> {
    if OUTSIDE.contains(&name) {
        return Some("a mapping sees the event and nothing else");
    }
    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_leaves_the_event_can_be_called() {
        let allowed: Vec<_> = allowed().iter().map(|f| f.identifier()).collect();
        for name in REFUSED.iter().map(|(name, _)| name).chain(OUTSIDE) {
            assert!(!allowed.contains(name), "{name}");
        }
        assert!(allowed.contains(&"encode_json") && allowed.contains(&"parse_json"));
    }

    #[test]
    fn every_refused_name_is_one_of_the_library() {
        let all: Vec<_> = vrl::stdlib::all().iter().map(|f| f.identifier()).collect();
        for (name, _) in REFUSED {
            assert!(all.contains(name), "{name} has another name now");
        }
    }

    #[test]
    fn a_new_function_of_the_library_is_looked_at_before_it_is_allowed() {
        // Look at what is new (clock, chance, size, time), then change the number.
        assert_eq!(allowed().len(), 162);
    }
}
