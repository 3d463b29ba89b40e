//! `millrace topics plan | apply | verify`: from what the catalog needs to what is there.
//!
//! Nothing is ever removed or shortened. What a removed destination leaves behind has to be
//! decided on first: see [`leftovers`].

use std::{path::Path, process::ExitCode};

use kafka_io::topics::{Admin, AdminOptions, Change, Spec, Step, plan};

use crate::{
    check::counted,
    cli::{self, Leaving, TopicsAction},
    failure::Failure,
    leftovers,
    output::say,
    settings, shared, specs,
};

const APPLY_FIRST: &str = "run `millrace topics apply`, and mend what it can't";

pub(crate) async fn run(file: Option<&Path>, options: cli::Topics) -> Result<ExitCode, Failure> {
    let config = settings::load(file)?.config;
    let folder = options.catalog.as_deref().unwrap_or(&config.catalog.folder);
    let catalog = shared::catalog(folder)?;
    let names = shared::names(&config);
    let wanted = specs::specs(&catalog, &names, &config.topics);
    let place = leftovers::Place::new(&config, &names, &catalog);
    if config.kafka.embedded {
        return on_embedded(&place, &options.action, folder).await;
    }
    let admin = shared::admin(&config.kafka, AdminOptions::default())?;
    let steps = steps(&admin, &wanted).await?;
    match options.action {
        TopicsAction::Plan => {
            print(&steps);
            tell_open(&place).await?;
            summary(&steps);
            Ok(ExitCode::SUCCESS)
        }
        TopicsAction::Apply(leaving) => {
            // Asked before: a topic that was just made is not known to every broker yet.
            let returned = decide(&place, &leaving, folder).await?;
            let applied = apply(&admin, &steps).await?;
            if !steps.is_empty() {
                // Who goes on by what this command ended with finds the topics, whichever broker is asked.
                let known = admin.await_known(&wanted).await;
                known.map_err(|e| Failure::new("see all topics made", e, ""))?;
            }
            place.welcome_back(&returned).await?;
            Ok(applied)
        }
        TopicsAction::Verify(leaving) => {
            decide(&place, &leaving, folder).await?;
            verify(&steps, wanted.len())
        }
    }
}

/// Looks only at what is left: `millrace dev` makes the topics of its embedded broker itself.
async fn on_embedded(
    place: &leftovers::Place,
    action: &TopicsAction,
    folder: &Path,
) -> Result<ExitCode, Failure> {
    match action {
        TopicsAction::Plan => tell_open(place).await?,
        TopicsAction::Apply(leaving) => {
            let returned = decide(place, leaving, folder).await?;
            place.welcome_back(&returned).await?;
        }
        TopicsAction::Verify(leaving) => drop(decide(place, leaving, folder).await?),
    }
    say!("the topics of the embedded broker are made by `millrace dev`");
    Ok(ExitCode::SUCCESS)
}

async fn tell_open(place: &leftovers::Place) -> Result<(), Failure> {
    let left = place.look().await?.left;
    left.iter().filter(|left| left.is_open()).for_each(|left| say!("! {left}"));
    Ok(())
}

async fn steps(admin: &Admin, wanted: &[Spec]) -> Result<Vec<Step>, Failure> {
    let names: Vec<&str> = wanted.iter().map(|spec| spec.name.as_str()).collect();
    let existing = admin.describe(&names).await.map_err(|e| Failure::new("plan topics", e, ""))?;
    Ok(plan(wanted, &existing))
}

/// Takes what is said of removed destinations, and refuses where nothing is. Returns those that
/// were removed once and are declared again.
async fn decide(
    place: &leftovers::Place,
    leaving: &Leaving,
    folder: &Path,
) -> Result<Vec<String>, Failure> {
    for destination in &leaving.drain {
        place.drain(destination).await?;
    }
    for destination in &leaving.abandon {
        place.abandon(destination).await?;
    }
    let looked = place.look().await?;
    leftovers::refuse(&looked.left, folder)?;
    Ok(looked.returned)
}

async fn apply(admin: &Admin, steps: &[Step]) -> Result<ExitCode, Failure> {
    print(steps);
    let mut failed = 0;
    for step in steps {
        match step {
            Step::Problem(_) => failed += 1,
            Step::Change(change) => {
                if let Err(error) = admin.apply(change).await {
                    say!("  failed: {error}");
                    failed += 1;
                }
            }
        }
    }
    if failed > 0 {
        let why = format!("{} of the plan not done", counted(failed, "step"));
        return Err(Failure::new(
            "bring all topics to what is wanted",
            why,
            "mend what is named above, then apply again",
        ));
    }
    match steps.len() {
        0 => say!("all topics are as wanted"),
        count => say!("done: {}", counted(count, "step")),
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(steps: &[Step], topics: usize) -> Result<ExitCode, Failure> {
    if steps.is_empty() {
        say!("all {} are as wanted", counted(topics, "topic"));
        return Ok(ExitCode::SUCCESS);
    }
    let told = steps.iter().map(|step| match step {
        Step::Change(change) => change.as_problem().to_string(),
        Step::Problem(problem) => problem.to_string(),
    });
    let told: Vec<String> = told.collect();
    Err(Failure::new("verify the topics", told.join("\n"), APPLY_FIRST))
}

fn print(steps: &[Step]) {
    for step in steps {
        match step {
            Step::Change(change) => {
                say!("{} {change}", mark(change));
                if let Some(effect) = change.effect() {
                    say!("    {effect}");
                }
            }
            Step::Problem(problem) => say!("! {problem}"),
        }
    }
}

fn mark(change: &Change) -> char {
    match change {
        Change::Create(_) | Change::AddPartitions { .. } => '+',
        Change::SetConfig { .. } => '~',
    }
}

fn summary(steps: &[Step]) {
    let problems = steps.iter().filter(|step| matches!(step, Step::Problem(_))).count();
    match (steps.len() - problems, problems) {
        (0, 0) => say!("all topics are as wanted"),
        (changes, 0) => {
            say!("{} to make: run `millrace topics apply`", counted(changes, "step"))
        }
        (changes, problems) => say!(
            "{} to make, and {} that no command mends",
            counted(changes, "step"),
            counted(problems, "problem")
        ),
    }
}
