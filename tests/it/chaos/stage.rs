//! What the scenarios around deliver begin with: everything but deliver runs, and its members come, go,
//! stand still and die as the scenario says. It judges nothing.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::{
    Receiver, Spawned,
    process::Program,
    receiver::{Answer, Rule},
    wait,
};

use super::traffic::key;
use crate::{
    SOON,
    system::{DELIVER_GROUP, PARTITIONS, Service, Setup, World},
};

/// The partitions of the one destination, with those for replays.
pub(super) const ALL_PARTITIONS: i32 = 2 * PARTITIONS;
/// What a member has to say nothing for, to be taken for gone.
pub(super) const SESSION: Duration = Duration::from_secs(8);

/// How many keys, of all.
const RETRIED: u64 = 8;
const RETRIED_FOR: Duration = Duration::from_secs(2);

/// A world, and the members of deliver by ordinal.
pub(super) struct Stage {
    pub(super) world: World,
    members: BTreeMap<u16, Spawned>,
    _others: Vec<Spawned>,
}

/// What is done to a process from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Stop,
    Continue,
}

impl Stage {
    /// Begins on a usual world.
    pub(super) async fn usual() -> Self {
        Self::on(World::start(&usual()).await).await
    }

    /// Begins with no member of deliver.
    pub(super) async fn on(world: World) -> Self {
        refuse(&world.receiver);
        let others = [Service::Ingest, Service::Transform];
        let mut others = others.map(|service| world.spawn(service, 0));
        for other in &mut others {
            other.wait_ready(SOON).await;
        }
        Self { world, members: BTreeMap::new(), _others: others.into() }
    }

    /// Starts a member of deliver that was never there.
    pub(super) fn add(&mut self, ordinal: u16) {
        self.add_with(ordinal, |program| program);
    }

    /// The same, its program changed.
    pub(super) fn add_with(&mut self, ordinal: u16, change: impl FnOnce(Program) -> Program) {
        let program = change(self.world.program(Service::Deliver, ordinal));
        let before = self.members.insert(ordinal, program.spawn());
        assert!(before.is_none(), "deliver-{ordinal} is there already");
    }

    /// Waits until all members that run have all they need, and the load flows.
    pub(super) async fn flows(&mut self) {
        for member in self.members.values_mut() {
            member.wait_ready(SOON).await;
        }
        self.takes_more(100).await;
    }

    /// Waits until the receiver has taken so many more.
    pub(super) async fn takes_more(&self, count: usize) {
        let enough = self.world.receiver.taken() + count;
        self.world.receiver.await_taken(enough, SOON).await;
    }

    /// Fails some keys for a while, so that they wait for another attempt when something is done next;
    /// until the receiver is told otherwise.
    pub(super) async fn retries_some(&self) {
        for number in 0..RETRIED {
            let rule = Rule::path("/app").key(&key(number));
            self.world.receiver.on(rule.statuses([503]));
        }
        pass(RETRIED_FOR).await;
    }

    /// Takes a member away if it runs, and brings it back if it does not.
    pub(super) async fn toggle(&mut self, ordinal: u16) {
        let Some(member) = self.members.get_mut(&ordinal) else { return self.add(ordinal) };
        if member.ended().is_some() {
            return member.restart();
        }
        member.sigterm();
        let status = member.wait_exit(SOON).await;
        assert!(status.success(), "deliver-{ordinal} ended with {status}:\n{}", member.log());
    }

    pub(super) fn member(&mut self, ordinal: u16) -> &mut Spawned {
        self.members.get_mut(&ordinal).expect("it was added")
    }

    /// How many partitions a member says are its own.
    pub(super) async fn owned(&self, ordinal: u16) -> Option<i32> {
        let told = metric(self.admin(ordinal), "millrace_consumer_assigned_partitions").await?;
        Some(told as i32)
    }

    /// How often a member's assignment has changed.
    pub(super) async fn rebalances(&self, ordinal: u16) -> u64 {
        let name = "millrace_consumer_rebalances_total";
        let ask = || metric(self.admin(ordinal), name);
        wait::until_some("a member to tell its rebalances", SOON, ask).await as u64
    }

    fn admin(&self, ordinal: u16) -> SocketAddr {
        self.world.admin(Service::Deliver, ordinal)
    }
}

impl Signal {
    pub(super) fn send(self, pid: u32) {
        let name = match self {
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        };
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        assert!(status.is_ok_and(|status| status.success()), "{pid} can be told to {name}");
    }
}

/// A world for long loads.
pub(super) fn usual() -> Setup {
    Setup { keep_content: false, ..Setup::default() }
}

/// What is to be refused is answered so.
pub(super) fn refuse(receiver: &Receiver) {
    receiver.on(Rule::path("/app/refused").answers([Answer::Status(422)]));
}

/// Changes the catalog in a folder of the world's site.
pub(super) fn change_catalog(world: &World, folder: &str, change: impl FnOnce(&mut Value)) {
    let file = world.path(folder).join("catalog.yaml");
    let text = fs::read_to_string(&file).expect("the world wrote its catalog");
    let mut catalog = serde_json::from_str(&text).expect("the world's catalog is JSON");
    change(&mut catalog);
    fs::write(file, catalog.to_string()).expect("the scratch folder is writable");
}

/// Lets time pass in which nothing is looked at.
pub(super) async fn pass(time: Duration) {
    let begun = Instant::now();
    wait::until("time to pass", time + SOON, || begun.elapsed() >= time).await;
}

async fn metric(admin: SocketAddr, name: &str) -> Option<f64> {
    let text = testkit::get(admin, "/metrics", SOON).await.ok()?.text();
    let group = format!(r#"consumer_group="{DELIVER_GROUP}""#);
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(&group));
    Some(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}
