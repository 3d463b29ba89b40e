//! What programs may do, what they make, and what is refused: tables over one event.

use bytes::Bytes;
use domain::dead_letter::Reason;
use mapping::{Event, Input, Mapped, Program, Request, Use};

const BODY: &str = r#"{"type":"charge.succeeded","amount":1999,"price":19.99,"draft":false,
    "customer":{"id":"cus_7","tags":["a","b"]},"n":null}"#;
const HEADERS: &[(&str, &str)] = &[("X-Kind", "one"), ("x-kind", "two"), ("accept", "*/*")];

fn event(body: &Bytes) -> Event<'_> {
    Event {
        id: "evt_1",
        source: "payments",
        event_type: "charge.succeeded",
        subject: None,
        time_ms: 1_700_000_000_123,
        received_ms: 1_700_000_001_000,
        correlation_id: "c-1",
        content_type: "application/json",
        headers: HEADERS,
        body,
    }
}

fn map_body(program: &str, body: &'static str) -> Result<Mapped, mapping::Failed> {
    let program = Program::compile(program, "test.vrl", Use::Mapping)
        .unwrap_or_else(|e| panic!("{program} does not compile: {}\n{}", e, e.rendered));
    let body = Bytes::from_static(body.as_bytes());
    program.map(&Input::parse(event(&body)))
}

fn request(program: &str) -> Request {
    match map_body(program, BODY) {
        Ok(Mapped::Request(request)) => request,
        other => panic!("{program} gave {other:?}"),
    }
}

fn body(program: &str) -> String {
    String::from_utf8(request(program).body.to_vec()).expect("text")
}

#[test]
fn conditions_say_which_events_are_wanted() {
    let cases = [
        ("true", true),
        (r#".type == "charge.succeeded""#, true),
        (r#".type == "charge.failed" || .amount == 1999"#, true),
        (r#"%type == "charge.succeeded" && %source != "payments""#, false),
        (r#"%headers."x-kind" == "one, two""#, true),
        ("exists(%headers.\"x-none\")", false),
        (".draft == true", false),
        (".missing == null", true),
        (r#"includes(array(.customer.tags) ?? [], "b")"#, true),
        (r#"starts_with(string(.type) ?? "", "charge.")"#, true),
    ];
    let body = Bytes::from_static(BODY.as_bytes());
    let input = Input::parse(event(&body));
    for (text, expected) in cases {
        let program = Program::compile(text, "when", Use::Condition)
            .unwrap_or_else(|e| panic!("{text}: {}", e.rendered));
        assert_eq!(program.matches(&input), Ok(expected), "{text}");
    }
}

#[test]
fn a_mapping_makes_the_body() {
    let cases = [
        (r#". = {"id": .customer.id, "n": .amount}"#, r#"{"id":"cus_7","n":1999}"#),
        (
            r#". = {"event": %id, "at": %time}"#,
            r#"{"at":"2023-11-14T22:13:20.123Z","event":"evt_1"}"#,
        ),
        (". = [.price, .draft, .n]", "[19.99,false,null]"),
        (". = .customer.tags", r#"["a","b"]"#),
        (r#". = "plain""#, "plain"),
        (". = encode_json(.customer)", r#"{"id":"cus_7","tags":["a","b"]}"#),
        (". = 7", "7"),
        (
            "del(.customer)\ndel(.price)\n.amount = 1",
            r#"{"amount":1,"draft":false,"n":null,"type":"charge.succeeded"}"#,
        ),
        (
            ". = map_values(object(.customer) ?? {}) -> |v| { is_string(v) }",
            r#"{"id":true,"tags":false}"#,
        ),
    ];
    for (program, expected) in cases {
        assert_eq!(body(program), expected, "{program}");
    }
}

#[test]
fn a_body_that_is_left_alone_goes_byte_for_byte() {
    let made = request(r#"%request.path = "/x""#);
    assert_eq!((&made.body[..], made.content_type.as_str()), (BODY.as_bytes(), "application/json"));
}

#[test]
fn content_types_follow_the_result() {
    let cases = [
        (". = {}", "application/json"),
        (r#". = "text""#, "text/plain; charset=utf-8"),
        (r#". = decode_base16!("ff00")"#, "application/octet-stream"),
        (r#". = """#, ""),
        ("%request.content_type = \"application/vnd.x+json\"\n. = {}", "application/vnd.x+json"),
        ("x = 1", "application/json"),
    ];
    for (program, expected) in cases {
        assert_eq!(request(program).content_type, expected, "{program}");
    }
}

#[test]
fn a_mapping_sets_the_rest_of_the_request() {
    let made = request(
        r#"
        %request.method = "PUT"
        %request.path = "/contacts/" + encode_percent("a b/c")
        %request.query = { "page": 2, "all": true, "none": null }
        %request.headers = { "x-reason": "test" }
        %key = .customer.id
        "#,
    );
    assert_eq!(made.method.as_deref(), Some("PUT"));
    assert_eq!(made.path, "/contacts/a%20b%2Fc");
    let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
    assert_eq!(made.query, [pair("all", "true"), pair("page", "2")]);
    assert_eq!(made.headers, [pair("x-reason", "test")]);
    assert_eq!(made.key.as_deref(), Some("cus_7"));
}

#[test]
fn abort_filters_and_an_error_fails() {
    assert_eq!(map_body("if .draft == false { abort }", BODY), Ok(Mapped::Filtered));
    assert_eq!(map_body(r#"abort "not today""#, BODY), Ok(Mapped::Filtered));
    let failed = map_body(". = parse_int!(.type)", BODY).expect_err("no number");
    assert_eq!(failed.reason, Reason::MappingFailed);
    assert!(failed.message.starts_with("test.vrl: "), "{failed}");
}

#[test]
fn a_result_that_is_no_request_is_told_why() {
    let cases = [
        (r#"%request.method = "BREW""#, "none of POST"),
        (r#"%request.path = "x""#, "begin with a slash"),
        (r#"%request.path = "/a?b=1""#, "set %request.query"),
        (r#"%request.path = "/a/../b""#, "step upwards"),
        (r#"%request.path = "/a/%2E%2e/b""#, "step upwards"),
        (r#"%request.path = "/a b""#, "encode_percent"),
        (r#"%request.headers = {"a b": "x"}"#, "no name"),
        (r#"%request.headers = {"Authorization": "x"}"#, "can't be set"),
        (r#"%request.headers = {"Content-Type": "x"}"#, "%request.content_type"),
        (r#"%request.headers = {"x": "a\r\nb: c"}"#, "control character"),
        (r#"%request.headers = {"x": ["a"]}"#, "%request.headers.x has to be"),
        (r#"%request = {"headres": {}}"#, "%request.headres means nothing"),
        ("%key = .customer", "%key has to be"),
        ("%request = .customer.tags", "%request has to be an object"),
    ];
    for (program, expected) in cases {
        let failed = map_body(program, BODY).expect_err(program);
        assert_eq!(failed.reason, Reason::InvalidResult, "{program}");
        assert!(failed.message.contains(expected), "{program} said: {failed}");
    }
}

#[test]
fn mistakes_are_refused_at_load_with_their_place() {
    use Use::{Condition, Expression, Mapping};
    let cases = [
        (Mapping, "x = 1\n. = .a + 1", 2, 5, "unhandled"),
        (Mapping, ". = now()", 1, 5, "gives another result each time"),
        (Mapping, "\n. = uuid_v4()", 2, 5, "gives another result each time"),
        (Mapping, ". = get_env_var!(\"HOME\")", 1, 5, "sees the event and nothing else"),
        (Mapping, ". = http_request!(\"http://a\")", 1, 5, "sees the event and nothing else"),
        (Mapping, ". = decode_gzip!(.a)", 1, 5, "fill the memory"),
        (Mapping, ". = nonsense()", 1, 5, "undefined function"),
        (Mapping, ". = {", 1, 6, "syntax error"),
        (Mapping, "x = 1\n%id = \"x\"", 2, 1, "read-only"),
        (Mapping, "% = {}", 1, 1, "read-only"),
        (Mapping, ". = 1\n. = %idd", 2, 5, "%idd means nothing"),
        (Mapping, "%request.header = {}", 1, 1, "%request.header means nothing"),
        (Mapping, "%request.method = 7", 1, 1, "has to be a string"),
        (Mapping, "%request.query = \"a=b\"", 1, 1, "has to be an object"),
        (Condition, ".draft", 1, 1, "compare it"),
        (Condition, "", 1, 1, "compare it"),
        (Condition, ".a > 1", 1, 1, "unhandled error"),
        (Condition, ".a = 1\ntrue", 1, 1, "read-only"),
        (Condition, "%typ == \"x\"", 1, 1, "%typ means nothing"),
        (Expression, "%id", 1, 1, "taken from the body"),
    ];
    for (purpose, text, line, column, expected) in cases {
        let error = Program::compile(text, "test", purpose).expect_err(text);
        let said = format!("{}\n{}", error.message, error.rendered);
        assert!(said.contains(expected), "{text:?} said: {said}");
        assert_eq!((error.line, error.column), (line, column), "{text:?}: {said}");
    }
}

#[test]
fn keys_are_taken_from_the_body() {
    let cases = [
        (".customer.id", Some("cus_7")),
        (".amount", Some("1999")),
        (".customer", None),
        (".missing", None),
        (r#"upcase(string(.type) ?? "")"#, Some("CHARGE.SUCCEEDED")),
        (r#""""#, None),
    ];
    for (text, expected) in cases {
        let program = Program::compile(text, "key", Use::Expression).expect(text);
        let found = program.extract(BODY.as_bytes(), "application/json");
        assert_eq!(found.as_deref(), expected, "{text}");
    }
}

#[test]
fn a_program_never_changes_what_the_next_one_sees() {
    let body = Bytes::from_static(BODY.as_bytes());
    let input = Input::parse(event(&body));
    let change = Program::compile(".amount = 1\n%key = \"k\"", "a", Use::Mapping).expect("valid");
    let look = Program::compile(". = [.amount, %key]", "b", Use::Mapping).expect("valid");
    change.map(&input).expect("maps");
    let Ok(Mapped::Request(seen)) = look.map(&input) else { panic!("no request") };
    assert_eq!(&seen.body[..], b"[1999,null]");
}

#[test]
fn a_body_that_is_no_json_is_text() {
    let Ok(Mapped::Request(made)) = map_body(". = {\"said\": .}", "a=1&b=2") else {
        panic!("no request")
    };
    assert_eq!(&made.body[..], br#"{"said":"a=1&b=2"}"#);
}

#[test]
fn a_program_is_stopped_after_its_steps() {
    let program = "
        n = 0
        a = split!(.a, \",\")
        for_each(a) -> |_i, _x| { for_each(a) -> |_j, _y| { n = n + 1 } }
        . = n";
    let program = Program::compile(program, "slow", Use::Mapping).expect("valid");
    let text = Bytes::from(format!("{{\"a\":\"{}\"}}", ",".repeat(3_000)));
    let failed = program.map(&Input::parse(event(&text))).expect_err("nine million steps");
    assert!(failed.message.contains("slow took more than"), "{failed}");
}

#[test]
fn a_body_nested_too_deep_fails_every_program_and_is_still_forwarded_by_none() {
    let text = Bytes::from(format!("{}1{}", "[".repeat(500), "]".repeat(500)));
    let input = Input::parse(event(&text));
    let program = Program::compile("true", "when", Use::Condition).expect("valid");
    assert_eq!(program.matches(&input).expect_err("too deep").reason, Reason::MappingFailed);
}

#[test]
fn the_version_changes_with_the_text_alone() {
    let version = |text, name| {
        Program::compile(text, name, Use::Mapping).expect("valid").version().to_owned()
    };
    assert_eq!(version(". = 1", "a"), version(". = 1", "b"));
    assert_ne!(version(". = 1", "a"), version(". = 2", "a"));
    assert_eq!(version(". = 1", "a").len(), 12);
}
