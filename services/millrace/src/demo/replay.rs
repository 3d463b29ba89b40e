//! Shows the dead letters of a destination and puts them through again, as an operator would by
//! `millrace dlq list` and `millrace dlq replay`.

use dlq_replayer::{
    Choice, Ended, Filter, PageOrder, Query, Replayer, StoryQuery, Summary, Wanted,
};
use tokio_util::sync::CancellationToken;

use crate::{compose::World, event, failure::Failure, output::say};

/// As many as a record may be replayed before it is set aside.
const REPLAYS_MAX: u32 = 5;

/// The dead letters of one destination.
pub(super) struct DeadLetters {
    replayer: Replayer,
    filter: Filter,
}

impl DeadLetters {
    pub(super) fn of(destination: &str, world: &World) -> Self {
        let World { kafka, registry, names, .. } = world.clone();
        let destinations = vec![destination.to_owned()];
        Self {
            replayer: Replayer::new(dlq_replayer::World { kafka, registry, names }),
            filter: Filter { destinations, ..Filter::default() },
        }
    }

    /// Lists them as they lie in the log.
    pub(super) async fn list(&self) -> Result<Vec<Summary>, Failure> {
        let query =
            Query { filter: self.filter.clone(), order: PageOrder::Oldest, ..Query::default() };
        let page = self.replayer.list(query).await;
        Ok(page.map_err(|e| Failure::new("list the dead letters", e, ""))?.letters)
    }

    /// Tells what happened to one event, from the log alone.
    pub(super) async fn tell_story(&self, event_id: &str) -> Result<(), Failure> {
        let query = StoryQuery { id: event_id.to_owned(), since_ms: 0, until_ms: None };
        let story = self.replayer.story(query, |_progress| {}).await;
        let story = story.map_err(|e| Failure::new("tell an event's story", e, ""))?;
        say!("\nThe story of one of them, as `millrace event {event_id}` tells it from the log\n");
        event::print(&story);
        Ok(())
    }

    /// Puts each of them through again; says how many.
    pub(super) async fn replay(&self) -> Result<usize, Failure> {
        let failed = |e| Failure::new("replay the dead letters", e, "");
        let wanted = Wanted {
            choice: Choice::Filter(self.filter.clone()),
            again: false,
            by: "demo".to_owned(),
            replays_max: REPLAYS_MAX,
        };
        let job = self.replayer.start(wanted).await.map_err(failed)?;
        let stop = CancellationToken::new();
        match self.replayer.run_job(&job.id, stop, |_progress| {}).await.map_err(failed)? {
            Ended::Done(job) => Ok(usize::try_from(job.counts.republished).unwrap_or(usize::MAX)),
            ended @ (Ended::Stopped | Ended::TakenOver) => {
                Err(Failure::new("replay the dead letters", format!("it ended as {ended:?}"), ""))
            }
        }
    }
}
