//! A real schema registry, from `deploy/local/registry.sh`, for one test. Its storage is a file:
//! killed and started again, it gives the same ids.

use crate::{Ports, Scratch, brokers::run};

/// A running registry; dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Apicurio {
    ports: Ports,
    scratch: Scratch,
}

impl Apicurio {
    /// Starts a registry on 127.0.0.1 and waits until it answers: about 4 s.
    ///
    /// # Panics
    /// When it does not start; the message holds the script's, with the end of the log.
    pub async fn start() -> Self {
        let registry = Self { ports: Ports::reserve(), scratch: Scratch::new("registry") };
        registry.restart().await;
        registry
    }

    /// The base of the Confluent API, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}/apis/ccompat/v7", self.ports.address(0))
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill9(&self) {
        self.scratch.kill("registry");
    }

    /// Starts a killed registry again, with its data and port, and waits until it answers.
    ///
    /// # Panics
    /// When it runs already or does not start.
    pub async fn restart(&self) {
        let folder = self.scratch.path();
        let port = self.ports.base().to_string();
        run("registry.sh", folder, &["start".as_ref(), folder, port.as_ref()]).await;
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        self.scratch.log("registry")
    }
}
