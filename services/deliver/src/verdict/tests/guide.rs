//! The guide's table of what follows an attempt, row by row against the code.

use std::collections::BTreeSet;

use super::*;

const GUIDE: &str = include_str!("../../../../../docs/guides/delivery.md");
const HEAD: &str = "| the attempt ended with |";

/// A row's cells: what the attempt ended with, then what the guide says of it.
fn rows() -> Vec<[&'static str; 6]> {
    let table = GUIDE.lines().skip_while(|line| !line.starts_with(HEAD)).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim);
    rows.map(|line| cells(line).collect::<Vec<_>>().try_into().expect("six cells")).collect()
}

/// Every status that a cell names, such as `500, 502, 506–523`.
fn statuses(cell: &str) -> Option<Vec<u16>> {
    let cell =
        cell.split_once(',').filter(|(_, rest)| rest.contains("never")).map_or(cell, |c| c.0);
    let mut found = Vec::new();
    for part in cell.split(", ") {
        let (from, to) = part.split_once('–').unwrap_or((part, part));
        found.extend(from.parse::<u16>().ok()?..=to.parse().ok()?);
    }
    Some(found)
}

fn ends(cell: &str) -> Vec<Result<Answer, Failure>> {
    match cell {
        "503 without `Retry-After`" => vec![answered(503, None)],
        "503 with `Retry-After`" => vec![answered(503, Some("7"))],
        "egress refused" => vec![failed(Phase::Egress)],
        "no address (DNS)" => vec![failed(Phase::Dns), late(Phase::Dns)],
        "connection refused or reset" => vec![failed(Phase::Connect)],
        "no connection in time" => vec![late(Phase::Connect), late(Phase::Tls)],
        "TLS refused" => vec![failed(Phase::Tls)],
        "closed before an answer" => vec![failed(Phase::NoAnswer)],
        "no answer in time" => vec![late(Phase::NoAnswer), late(Phase::AnswerBroken)],
        "a 2xx whose body broke off" => {
            let broke_off = |status| {
                let failure = Failure::at(Phase::AnswerBroken, "crm", "half");
                Err(failure.with_status(StatusCode::from_u16(status).expect("it is a status")))
            };
            [200, 202, 204].map(broke_off).to_vec()
        }
        statuses_of => {
            let statuses = statuses(statuses_of).unwrap_or_else(|| panic!("no such row: {cell}"));
            statuses.into_iter().map(|status| answered(status, Some("7"))).collect()
        }
    }
}

fn said(result: &Result<Answer, Failure>) -> [&'static str; 5] {
    let Verdict { outcome, next } = first(result);
    let Signals { health, load, asked } = signals(result, &super::rules(), NOW);
    let seven = Next::Again { at: NOW.plus(7 * SECOND) };
    [
        outcome.label(),
        match next {
            Next::Settled => "settled",
            Next::Again { .. } => "again",
            Next::DeadLetter(_) => "dead letter",
            Next::Gone => "waits; the destination is disabled",
        },
        match health {
            Health::Healthy => "healthy",
            Health::Failed => "failure",
            Health::Untold => "nothing",
        },
        match load {
            Load::Answered(_) => "latency",
            Load::Overloaded => "overloaded",
            Load::Failed => "nothing",
        },
        match asked {
            Some(_) => "the destination",
            None if next == seven => "the delivery",
            None => "nothing",
        },
    ]
}

#[test]
fn the_guide_says_of_each_answer_and_failure_what_the_code_does() {
    let rows = rows();
    assert!(rows.len() > 15, "the table is there: {rows:?}");
    let mut told = BTreeSet::new();
    for [cell, says @ ..] in rows {
        for end in ends(cell) {
            assert_eq!(said(&end), says, "{cell}: {}", describe(&end));
        }
        told.extend(statuses(cell).unwrap_or_default());
    }
    told.insert(503);
    let untold: Vec<u16> = (200..=599).filter(|status| !told.contains(status)).collect();
    assert_eq!(untold, Vec::<u16>::new(), "every status has a row");
}
