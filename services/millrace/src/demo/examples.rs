//! The catalog of `examples/`, carried in the executable, with the demo's own third party.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
};

use tempfile::TempDir;

use crate::{house, settings::Config};

/// Where the examples' destinations are on disk.
const THIRD_PARTY: &str = "127.0.0.1:9700";

macro_rules! example {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../examples/", $name)))
    };
}

const FILES: [(&str, &str); 10] = [
    example!("catalog.yaml"),
    example!("mappings/charge_to_contact.vrl"),
    example!("mappings/payment_to_mail.vrl"),
    example!("mappings/pull_request_to_message.vrl"),
    example!("mappings/push_to_build.vrl"),
    example!("secrets/chat"),
    example!("secrets/destinations"),
    example!("secrets/github"),
    example!("secrets/shop"),
    example!("secrets/stripe"),
];

/// Writes the examples to a folder of their own, with `third_party` as every destination.
pub(super) fn write(third_party: SocketAddr) -> io::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("millrace-demo-").tempdir()?;
    for (name, text) in FILES {
        let path = folder.path().join(name);
        if let Some(above) = path.parent() {
            fs::create_dir_all(above)?;
        }
        fs::write(path, text.replace(THIRD_PARTY, &third_party.to_string()))?;
    }
    Ok(folder)
}

/// Makes a configuration that disturbs nothing else on this machine.
pub(super) fn adjust(config: &mut Config, folder: &Path) -> io::Result<()> {
    config.catalog.folder = folder.to_owned();
    config.topics.replication = 1;
    config.admin.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.ingest.listen = free()?;
    config.dlq_replayer.listen = free()?;
    // The timeline is what is to be read; a destination that fails would be warned of.
    if config.log.level == "info" {
        config.log.level = "error".to_owned();
    }
    house::allow_loopback(config);
    Ok(())
}

/// Finds a free address; nobody else is given it while it has just been let go.
fn free() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
