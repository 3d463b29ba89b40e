//! The service's life: wait for what it stands on, give each partition a lane, keep up with the
//! catalog and with operators, drain.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use catalog_io::Catalogs;
use chassis::{Process, Readiness};
use domain::time::UnixMillis;
use kafka_io::{
    Acks, Consumer, GroupOptions, Lane, LaneOptions, Loss, Producer, ProducerOptions, Status,
    audit_losses,
    topics::{Admin, AdminOptions},
};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use wire::{
    Kind,
    audit::RecordsLost,
    topics::{Names, TopicKind},
};

use crate::{
    Config, Error, World,
    control::{self, Control, Follower},
    fallback::Fallbacks,
    gate::Gates,
    lane,
    outbox::Outbox,
    series,
    shared::{Place, Shared},
    topics::{self, Readable},
};

/// The consumer group, after the prefix of topics.
const GROUP: &str = "millrace-deliver";
/// How much sooner than the group's session the last word of it is too old for another attempt.
const LEASE_MARGIN: Duration = Duration::from_secs(2);
/// How long Kafka may take to describe its topics.
const ANSWER: Duration = Duration::from_secs(5);
/// How long after something was not there it is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Receipts wait this long for others to share their request.
const LINGER: Duration = Duration::from_millis(5);
/// Beyond the largest body that a source may have; the topic's own limit decides.
const RECORD_BYTES_MAX: usize = 32 << 20;
/// How long the last acknowledgements, and leaving the group, may each take.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Returns the consumer group in which deliveries are read.
pub fn group(names: &Names) -> String {
    format!("{}{GROUP}", names.prefix())
}

pub(crate) async fn run(config: Config, world: World, process: Process) -> Result<(), Error> {
    let mut subscription = Subscription::new(&world, &process)?;
    let mut follower = Follower::new(&world, &process);
    let client = http_io::Client::new(&config.http, config.egress_allow.clone())?;
    let producer = Producer::open(&world.kafka, producer_options(&config), &world.metrics)?;
    let Some(schema) = receipt_schema(&world, &process).await? else { return Ok(()) };
    let receipts = world.names.receipts().into();
    let shared = Arc::new(Shared {
        gates: Gates::new(world.names.clone(), series::Families::new(&process.metrics)),
        fallbacks: Fallbacks::new(world.names.clone()),
        control: Control::new(world.names.clone(), &process.metrics),
        outbox: Outbox::new(producer.clone(), receipts, schema, process.ready.clone()),
        registry: world.registry.clone(),
        client,
        tracer: process.tracer.clone(),
        group: group(&world.names),
        client_id: world.kafka.client_id.clone(),
        hook: process.hook.clone(),
        version: process.version,
        listener: world.listener.clone(),
        config,
    });
    shared.adopt(&world.catalogs.current());
    let Some(readable) = subscription.first().await else { return Ok(()) };
    // The last thing before lanes are opened: nothing is sent that an operator holds.
    let Some(()) = follower.first(&shared).await else { return Ok(()) };
    shared.gates.found(&readable.partitions);
    let running = Running::start(&world, &process, shared.clone(), &readable)?;
    let (kafka, audit) = (&world.kafka, subscription.names.audit());
    let by = Group { id: group(&subscription.names), service: process.name };
    let auditing = audit_losses(kafka, &world.metrics, running.status.clone(), &audit, |loss| {
        by.audited(loss)
    });
    let ended = tokio::select! {
        ended = running.until_stopped(subscription, readable, &process) => ended,
        never = auditing => match never {},
        never = control::keep(follower, &shared) => match never {},
    };
    producer.flush(END_WITHIN).await;
    ended
}

/// Who reads, as the audit names it.
struct Group {
    id: String,
    service: &'static str,
}

impl Group {
    fn audited(&self, loss: &Loss) -> Vec<u8> {
        let Loss { topic, partition, from, to } = loss;
        let lost =
            RecordsLost { group: &self.id, topic, partition: *partition, from: *from, to: *to };
        lost.json(self.service, UnixMillis::from(SystemTime::now()).0)
    }
}

fn producer_options(config: &Config) -> ProducerOptions {
    ProducerOptions {
        ack_timeout: config.acknowledge(),
        linger: LINGER,
        record_bytes_max: RECORD_BYTES_MAX,
        ..ProducerOptions::default()
    }
}

fn group_options(process: &Process, names: &Names, topics: Vec<String>) -> GroupOptions {
    let hook = process.hook.clone();
    let mut options = GroupOptions::new(group(names), topics);
    options.instance_id = process.instance.as_ref().map(|name| format!("{GROUP}-{name}"));
    options.hook = Arc::new(move |point| {
        hook.hit(point);
        if point == "kafka.during_revoke" {
            hook.hit("lanes.during_revoke");
        }
    });
    options
}

/// Registers the schema of receipts, waiting for a registry that is down; `None` when stopped.
async fn receipt_schema(world: &World, process: &Process) -> Result<Option<u32>, Error> {
    let subject = wire::subject(&world.names.receipts());
    loop {
        let asked = world.registry.register(&subject, Kind::Receipt);
        match process.stop.run_until_cancelled(asked).await {
            None => return Ok(None),
            Some(Ok(id)) => {
                process.ready.set("registry", Ok(()));
                return Ok(Some(id));
            }
            Some(Err(error)) if error.may_pass() => {
                process.ready.set("registry", Err(error.to_string()));
            }
            Some(Err(error)) => return Err(Error::Schema(error)),
        }
        if process.stop.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await.is_none() {
            return Ok(None);
        }
    }
}

/// Follows the catalog and the topics that are there.
struct Subscription {
    admin: Admin,
    names: Names,
    catalogs: Catalogs,
    ready: Readiness,
    stop: CancellationToken,
    /// The version of the catalog whose topics were looked at last, if that look succeeded.
    seen: Option<String>,
    look_again_at: Instant,
}

impl Subscription {
    fn new(world: &World, process: &Process) -> Result<Self, Error> {
        let options = AdminOptions { timeout: ANSWER, broker: world.broker.clone() };
        Ok(Self {
            admin: Admin::open(&world.kafka, options)?,
            names: world.names.clone(),
            catalogs: world.catalogs.clone(),
            ready: process.ready.clone(),
            stop: process.stop.clone(),
            seen: None,
            look_again_at: Instant::now(),
        })
    }

    /// Waits until something can be read, or the catalog wants nothing; `None` when stopped.
    async fn first(&mut self) -> Option<Readable> {
        loop {
            match self.look().await {
                Some(readable) if !readable.topics.is_empty() || readable.missing.is_none() => {
                    return Some(readable);
                }
                Some(_) | None => {}
            }
            self.stop.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await?;
        }
    }

    /// Returns what can be read once that is other than `before`.
    ///
    /// # Cancellation
    /// A look that was cut off is made again by the next call.
    async fn next(&mut self, before: &Readable) -> Readable {
        loop {
            let seen = self.seen.as_ref() == Some(&self.catalogs.current().version);
            if seen && before.missing.is_none() {
                self.catalogs.changed().await;
            } else {
                tokio::select! {
                    () = self.catalogs.changed() => {}
                    () = tokio::time::sleep_until(self.look_again_at) => {}
                }
            }
            match self.look().await {
                Some(readable) if readable != *before => return readable,
                Some(_) | None => {}
            }
        }
    }

    /// Looks once, and tells what is missing.
    async fn look(&mut self) -> Option<Readable> {
        let catalog = self.catalogs.current();
        let looked = topics::look(&self.admin, &self.names, &catalog).await;
        self.look_again_at = Instant::now() + LOOK_AGAIN;
        match looked {
            Ok(readable) => {
                self.seen = Some(catalog.version.clone());
                self.ready.set("topics", readable.missing.clone().map_or(Ok(()), Err));
                Some(readable)
            }
            Err(error) => {
                self.seen = None;
                self.ready.set("topics", Err(error.to_string()));
                None
            }
        }
    }
}

/// The service while it reads.
struct Running {
    shared: Arc<Shared>,
    lanes: Consumer,
    acks: Acks,
    incoming: mpsc::Receiver<Lane>,
    status: watch::Receiver<Status>,
    intake: CancellationToken,
    names: Names,
    tasks: JoinSet<()>,
}

impl Running {
    /// Joins the group, with what can be read now.
    fn start(
        world: &World,
        process: &Process,
        shared: Arc<Shared>,
        readable: &Readable,
    ) -> Result<Self, Error> {
        let group = group_options(process, &world.names, readable.topics.clone());
        let options = lane_options(shared.config.lane_records, &group);
        let (lanes, incoming) = kafka_io::lanes(&world.kafka, group, options, &world.metrics)?;
        Ok(Self {
            acks: lanes.acks(),
            status: lanes.status(),
            intake: CancellationToken::new(),
            names: world.names.clone(),
            tasks: JoinSet::new(),
            shared,
            lanes,
            incoming,
        })
    }

    async fn until_stopped(
        mut self,
        mut subscription: Subscription,
        mut readable: Readable,
        process: &Process,
    ) -> Result<(), Error> {
        let mut catalogs = subscription.catalogs.clone();
        self.tell(&process.ready);
        let ended = loop {
            tokio::select! {
                biased;
                () = process.stop.cancelled() => break Ok(()),
                Some(done) = self.tasks.join_next() => if let Err(defect) = done {
                    break Err(failed(&defect));
                },
                lane = self.incoming.recv() => match lane {
                    Some(lane) => self.open(lane),
                    None => break Err(Error::Consumer),
                },
                Ok(()) = self.status.changed() => self.tell(&process.ready),
                () = catalogs.changed() => self.shared.adopt(&catalogs.current()),
                next = subscription.next(&readable) => {
                    tracing::info!(topics = next.topics.len(), "subscription changed");
                    self.shared.gates.found(&next.partitions);
                    self.lanes.set_topics(next.topics.clone());
                    readable = next;
                }
            }
        };
        let drained = self.drain().await;
        ended.and(drained)
    }

    fn open(&mut self, lane: Lane) {
        let topic = lane.partition.topic.clone();
        let Some(TopicKind::Out { destination } | TopicKind::OutReplay { destination }) =
            self.names.parse(&topic)
        else {
            // Only topics of these kinds are subscribed to.
            tracing::error!(%topic, "lane of a topic that is no destination's");
            return;
        };
        let gate = self.shared.gates.of(destination);
        let place = Place { shared: self.shared.clone(), gate, intake: self.intake.child_token() };
        self.tasks.spawn(lane::run(lane, place, self.acks.clone()));
    }

    fn tell(&mut self, ready: &Readiness) {
        let status = self.status.borrow_and_update();
        ready.set("kafka", status.flows());
        ready.set("log", status.is_whole());
    }

    /// Has the consumer stop at once, so that a lane that is done early is no broken one; it commits when all lanes,
    /// which bound their own ends, are done, and leaves the group.
    async fn drain(mut self) -> Result<(), Error> {
        drop(self.incoming);
        let stopping = self.lanes.stop(self.shared.config.drain() + END_WITHIN);
        let ending = async {
            self.intake.cancel();
            let mut ended = Ok(());
            while let Some(done) = self.tasks.join_next().await {
                if let Err(defect) = done {
                    ended = Err(failed(&defect));
                }
            }
            ended
        };
        let (stopped, ended) = tokio::join!(biased; stopping, ending);
        if let Err(error) = stopped {
            tracing::warn!(%error, "the consumer group was not left in time");
        }
        ended
    }
}

fn failed(defect: &JoinError) -> Error {
    Error::Lane(defect.to_string())
}

fn lane_options(window_records: usize, group: &GroupOptions) -> LaneOptions {
    let lease = Some(group.session_timeout.saturating_sub(LEASE_MARGIN));
    LaneOptions { window_records, lease, ..LaneOptions::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_ends_two_seconds_before_the_session() {
        let mut group = GroupOptions::new("g", Vec::new());
        let lease = |group: &GroupOptions| lane_options(1, group).lease;
        assert_eq!(lease(&group), Some(Duration::from_secs(6)));
        group.session_timeout = Duration::from_secs(30);
        assert_eq!(lease(&group), Some(Duration::from_secs(28)));
    }
}
