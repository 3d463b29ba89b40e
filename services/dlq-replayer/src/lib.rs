//! Shows dead letters and replays them, and tells one event's story.
//!
//! A dead letter's id is its coordinate; two letters with one origin are one. A replay puts each
//! chosen letter exactly once into the lane of the consumer that gave up on it: records and the
//! job's own offsets stand in one transaction, and a job killed halfway goes on where it stopped.
//!
//! It delivers nothing itself and changes no dead letter.

mod api;
mod cluster;
mod config;
mod decode;
mod depth;
mod dry_run;
mod error;
mod filter;
mod id;
mod job;
mod jobs;
mod letter;
mod list;
mod progress;
mod replayer;
mod runner;
mod scan;
mod seen;
mod series;
mod service;
mod show;
mod state;
mod story;

use registry_io::Registry;
use wire::topics::Names;

pub use crate::{
    config::{Config, DEFAULTS},
    error::Error,
    filter::Filter,
    id::{InvalidId, LetterId},
    job::{Choice, Counts, IDS_MAX, InvalidJobId, Job, JobId, JobRange, Status, Wanted},
    letter::Summary,
    list::{PAGE_MAX, Page, PageOrder, Query},
    progress::Progress,
    replayer::Replayer,
    runner::Ended,
    service::run,
    show::Shown,
    story::{ENTRIES_MAX, Entry, Happened, Story, StoryProgress, StoryQuery},
};

/// What the replayer works with.
#[derive(Debug, Clone)]
pub struct World {
    pub kafka: kafka_io::Config,
    pub registry: Registry,
    pub names: Names,
}
