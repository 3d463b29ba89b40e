//! A real Apache Kafka of one or three nodes, from `deploy/local/kafka.sh`, for one test.
//! Nodes can be killed and started again. It makes no topics: that is the client's business.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::process::Command;

use crate::{Ports, Scratch, scratch};

const START: Duration = Duration::from_secs(180);

/// A running Kafka; dropping it kills all nodes and removes their data.
#[derive(Debug)]
pub struct Kafka {
    nodes: u16,
    ports: Ports,
    scratch: Scratch,
}

impl Kafka {
    /// One node, replication 1: ready after about 3 s.
    pub async fn one() -> Self {
        Self::start(1).await
    }

    /// Three nodes, replication 3, min.insync 2: ready after about 6 s.
    pub async fn three() -> Self {
        Self::start(3).await
    }

    /// Starts `nodes` (1 or 3) nodes on 127.0.0.1 and waits until all accept clients.
    ///
    /// # Panics
    /// When it does not start; the message holds the script's, with the end of the log.
    pub async fn start(nodes: u16) -> Self {
        let size = match nodes {
            1 => "one",
            3 => "three",
            other => panic!("a local Kafka has 1 or 3 nodes, not {other}"),
        };
        let kafka = Self { nodes, ports: Ports::reserve(), scratch: Scratch::new("kafka") };
        let base = kafka.ports.base().to_string();
        let folder = kafka.scratch.path();
        run("kafka.sh", folder, &["start".as_ref(), size.as_ref(), folder, base.as_ref()]).await;
        kafka
    }

    /// The addresses for `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> =
            (0..self.nodes).map(|node| self.ports.address(node).to_string()).collect();
        addresses.join(",")
    }

    /// How many nodes there are, dead ones included; also the replication topics can have.
    pub fn nodes(&self) -> u16 {
        self.nodes
    }

    /// Kills a node (from 0) with SIGKILL and waits until it is gone.
    pub fn kill9(&self, node: u16) {
        self.scratch.kill(&node.to_string());
    }

    /// Starts a killed node again, with its data and ports, and waits until it accepts clients.
    ///
    /// # Panics
    /// When it runs already or does not start.
    pub async fn restart(&self, node: u16) {
        let folder = self.scratch.path();
        run("kafka.sh", folder, &["node".as_ref(), folder, node.to_string().as_ref()]).await;
    }

    /// Starts a node again with other properties, `name=value` each; those of the same name are replaced.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart_with(&self, node: u16, properties: &[String]) {
        self.kill9(node);
        let file = self.scratch.path().join(format!("{node}.properties"));
        let before = std::fs::read_to_string(&file).expect("the node was started");
        let name = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
        let replaced: Vec<String> = properties.iter().map(|line| name(line)).collect();
        let kept = before.lines().filter(|line| !replaced.contains(&name(line))).map(str::to_owned);
        let text: Vec<String> = kept.chain(properties.iter().cloned()).collect();
        std::fs::write(&file, text.join("\n") + "\n").expect("the scratch folder is writable");
        self.restart(node).await;
    }

    /// A port of 127.0.0.1 that belongs to this Kafka and that it does not use by itself, from 0 to 2.
    pub fn spare(&self, number: u16) -> std::net::SocketAddr {
        assert!(number < 3, "three ports are to spare");
        self.ports.address(5 + number)
    }

    /// The number of a running node's process.
    pub fn pid(&self, node: u16) -> Option<u32> {
        self.scratch.pid(&node.to_string())
    }

    /// Runs one of Kafka's own command line tools, by its class, and gives what it printed.
    ///
    /// # Panics
    /// When it fails; the message holds its output.
    pub async fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let tools = std::env::var_os("MILLRACE_TOOLS")
            .map_or_else(|| scratch::root().join(".cache"), std::path::PathBuf::from);
        let mut command = Command::new("java");
        command
            .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(tools.join("kafka/libs/*"))
            .args([class, "--bootstrap-server", &self.bootstrap()])
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(START, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{class} did not end within {START:?}"));
        let output = output.expect("java is installed");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{class} failed: {told}{failed}");
        told
    }

    /// Whether every replica of every partition is in sync.
    pub async fn is_in_sync(&self) -> bool {
        let behind = ["--describe", "--under-replicated-partitions"];
        self.tool("org.apache.kafka.tools.TopicCommand", &behind).await.trim().is_empty()
    }

    /// Deletes all records of a topic's partitions: their logs then start where they end.
    pub async fn delete_records(&self, topic: &str, partitions: i32) {
        let list: Vec<_> = (0..partitions)
            .map(|partition| {
                serde_json::json!({ "topic": topic, "partition": partition, "offset": -1 })
            })
            .collect();
        let file = self.scratch.path().join("delete.json");
        let text = serde_json::json!({ "partitions": list, "version": 1 }).to_string();
        std::fs::write(&file, text).expect("the scratch folder is writable");
        let file = file.to_string_lossy();
        let arguments = ["--offset-json-file", file.as_ref()];
        self.tool("org.apache.kafka.tools.DeleteRecordsCommand", &arguments).await;
    }

    /// What a node has written to its log: warnings and worse.
    pub fn log(&self, node: u16) -> String {
        self.scratch.log(&node.to_string())
    }
}

/// Runs a script of `deploy/local` in the name of `folder`, whose end is then its processes' end.
pub(crate) async fn run(script: &str, folder: &Path, arguments: &[&Path]) {
    let mut command = Command::new("bash");
    command
        .arg(scratch::root().join("deploy/local").join(script))
        .args(arguments)
        .env(scratch::MARK, folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(START, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{script} did not end within {START:?}"));
    let output = output.expect("bash is installed");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} failed: {told}");
}
