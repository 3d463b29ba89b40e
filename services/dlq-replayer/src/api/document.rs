//! The OpenAPI document: paths as written here, schemas as the types are.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    Problem,
    replays::{Asked, Counted, Listed, Watched},
};
use crate::{PAGE_MAX, Page, Shown, Story};

/// Returns the document.
pub(super) fn document() -> Value {
    let mut schemas = Schemas::new();
    let paths = json!({
        "/v1/dead-letters": { "get": list(&mut schemas) },
        "/v1/dead-letters/{topic}/{partition}/{offset}": { "get": show(&mut schemas) },
        "/v1/replays": { "get": replays(&mut schemas), "post": replay(&mut schemas) },
        "/v1/replays/{id}": { "get": job(&mut schemas) },
        "/v1/events/{id}": { "get": story(&mut schemas) },
        "/v1/openapi.json": { "get": own() },
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Millrace dead letters",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Shows dead letters, puts them through again, and tells one event's story.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas.0.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        // An empty requirement: on loopback the API may be without a token.
        "security": [{ "token": [] }, {}],
    })
}

struct Schemas(SchemaGenerator);

impl Schemas {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| settings.definitions_path = "/components/schemas".into());
        Self(settings.into_generator())
    }

    fn of<T: JsonSchema>(&mut self) -> Value {
        self.0.subschema_for::<T>().to_value()
    }

    fn answer<T: JsonSchema>(&mut self, told: &str) -> Value {
        json!({ "description": told, "content": { "application/json": { "schema": self.of::<T>() } } })
    }

    /// Adds the refusals that every path may answer with, and those of its own.
    fn answers(&mut self, good: &[(&str, Value)], refusals: &[(&str, &str)]) -> Value {
        let problem = self.of::<Problem>();
        let refusal = |told: &str| {
            let content = json!({ "application/problem+json": { "schema": problem } });
            json!({ "description": told, "content": content })
        };
        let always = [
            ("400", "The request makes no sense; the document says what to change."),
            ("401", "The token is missing or wrong."),
            ("503", "The cluster does not serve this now; ask again."),
            ("504", "It took too long; ask for less."),
        ];
        let mut answers: Map<String, Value> =
            good.iter().map(|(status, answer)| ((*status).to_owned(), answer.clone())).collect();
        for (status, told) in always.iter().chain(refusals) {
            answers.insert((*status).to_owned(), refusal(told));
        }
        Value::Object(answers)
    }
}

fn list(schemas: &mut Schemas) -> Value {
    let page = schemas.answer::<Page>("One page.");
    json!({
        "operationId": "listDeadLetters",
        "summary": "Lists dead letters, a page at a time.",
        "parameters": [
            many("topic", "Topics of dead letters; quarantine only where it is named."),
            many("reason", "Why it was given up on."),
            many("destination", "Destinations."),
            many("source", "Sources."),
            one("since", "Given up on at or after: RFC 3339, or milliseconds since 1970."),
            one("until", "Given up on before."),
            enumerated("order", &["newest", "oldest"]),
            { "name": "limit", "in": "query", "schema": { "type": "integer", "minimum": 0 },
              "description": format!("Letters on a page, at most {PAGE_MAX}.") },
            one("cursor", "The `next` of the page before; all else must be the same."),
        ],
        "responses": schemas.answers(&[("200", page)], &[]),
    })
}

fn show(schemas: &mut Schemas) -> Value {
    let shown = schemas.answer::<Shown>("The letter.");
    json!({
        "operationId": "showDeadLetter",
        "summary": "Shows one dead letter with all it holds.",
        "parameters": [path("topic"), path("partition"), path("offset")],
        "responses": schemas.answers(&[("200", shown)], &[("404", "There is none, or no longer.")]),
    })
}

fn replays(schemas: &mut Schemas) -> Value {
    let jobs = schemas.answer::<Listed>("The jobs, the oldest first.");
    json!({
        "operationId": "listReplays",
        "summary": "Lists replay jobs.",
        "responses": schemas.answers(&[("200", jobs)], &[]),
    })
}

fn replay(schemas: &mut Schemas) -> Value {
    let counted = schemas.answer::<Counted>("What a dry run counted.");
    let started = schemas.answer::<Watched>("The job, recorded and begun.");
    let refusals = [
        ("404", "A letter named by id is not there."),
        ("413", "The body is too large."),
        ("415", "The body is not said to be JSON."),
    ];
    json!({
        "operationId": "replay",
        "summary": "Puts dead letters through again, each exactly once.",
        "requestBody": {
            "required": true,
            "content": { "application/json": { "schema": schemas.of::<Asked>() } },
        },
        "responses": schemas.answers(&[("200", counted), ("202", started)], &refusals),
    })
}

fn job(schemas: &mut Schemas) -> Value {
    let job = schemas.answer::<Watched>("The job.");
    json!({
        "operationId": "showReplay",
        "summary": "Shows a replay job and how far it is.",
        "parameters": [path("id")],
        "responses": schemas.answers(&[("200", job)], &[("404", "There is no such job.")]),
    })
}

fn story(schemas: &mut Schemas) -> Value {
    let story = schemas.answer::<Story>("What happened, in the order of time.");
    json!({
        "operationId": "tellEvent",
        "summary": "Tells everything that happened to an event.",
        "description": "The id is the event's, a correlation id, a delivery's, or one that a provider gave.",
        "parameters": [
            path("id"),
            one("since", "Written at or after; a day before `until` where nothing is said."),
            one("until", "Written before; now where nothing is said."),
        ],
        "responses": schemas.answers(&[("200", story)], &[]),
    })
}

fn own() -> Value {
    let document = json!({ "application/json": { "schema": { "type": "object" } } });
    json!({
        "operationId": "describe",
        "summary": "This document.",
        "responses": { "200": { "description": "The document.", "content": document } },
    })
}

fn one(name: &str, told: &str) -> Value {
    json!({ "name": name, "in": "query", "description": told, "schema": { "type": "string" } })
}

fn many(name: &str, told: &str) -> Value {
    let schema = json!({ "type": "array", "items": { "type": "string" } });
    json!({ "name": name, "in": "query", "description": told, "schema": schema, "explode": true })
}

fn enumerated(name: &str, words: &[&str]) -> Value {
    json!({ "name": name, "in": "query", "schema": { "type": "string", "enum": words } })
}

fn path(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `each` with every reference in a value.
    fn references(value: &Value, each: &mut impl FnMut(&str)) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(place) if name == "$ref" => each(place),
                        _ => references(value, each),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, each)),
            _ => {}
        }
    }

    #[test]
    fn the_document_reads_as_openapi() {
        let read = oas3::from_json(document().to_string()).expect("it is an OpenAPI document");
        assert!(read.validate_version().is_ok());
        assert_eq!(read.operations().count(), 7);
    }

    #[test]
    fn every_reference_of_the_document_leads_to_a_schema() {
        let document = document();
        let mut count = 0;
        references(&document, &mut |place| {
            let pointer = place.strip_prefix('#').expect("a reference within the document");
            assert!(document.pointer(pointer).is_some(), "{place}");
            count += 1;
        });
        assert!(count > 20, "{count}");
    }

    #[test]
    fn the_parameters_in_a_path_are_those_it_declares() {
        for (path, methods) in document()["paths"].as_object().expect("paths") {
            let braced =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            let braced: Vec<&str> = braced.collect();
            for (method, operation) in methods.as_object().expect("methods") {
                let declared = operation["parameters"].as_array().into_iter().flatten();
                let declared = declared.filter(|parameter| parameter["in"] == "path");
                let declared: Vec<&str> = declared.filter_map(|p| p["name"].as_str()).collect();
                assert_eq!(declared, braced, "{method} {path}");
            }
        }
    }
}
