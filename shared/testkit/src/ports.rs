//! Ports that stay ours for as long as they are held, also while a broker is dead between a kill
//! and its restart: blocks below the range the kernel hands out, each behind a lock file.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use crate::scratch;

const FIRST: u16 = 20_000;
const BLOCK: u16 = 20;
const BLOCKS: u16 = 600; // ends at 32,000, below the kernel's own range

/// Twenty consecutive ports of 127.0.0.1, reserved among all tests of this checkout until dropped.
#[derive(Debug)]
pub struct Ports {
    base: u16,
    _lock: File,
}

impl Ports {
    /// Reserves a block of which every port is free now.
    ///
    /// # Panics
    /// When there is none.
    pub fn reserve() -> Self {
        let folder = scratch::home().join("ports");
        fs::create_dir_all(&folder).expect("the target folder is writable");
        // Different processes begin at different places, so that they seldom meet.
        let start = (std::process::id() % u32::from(BLOCKS)) as u16;
        (0..BLOCKS)
            .map(|step| (start + step * 7) % BLOCKS)
            .find_map(|block| {
                let lock = File::create(folder.join(block.to_string())).ok()?;
                lock.try_lock().ok()?;
                let base = FIRST + block * BLOCK;
                (base..base + BLOCK).all(is_free).then_some(Self { base, _lock: lock })
            })
            .expect("a block of free ports between 20,000 and 32,000")
    }

    /// The lowest port of the block.
    pub fn base(&self) -> u16 {
        self.base
    }

    /// The address of the port `offset` (0 to 19) above the lowest.
    pub fn address(&self, offset: u16) -> SocketAddr {
        assert!(offset < BLOCK, "a block has {BLOCK} ports");
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.base + offset))
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_blocks_share_no_port() {
        let (one, two) = (Ports::reserve(), Ports::reserve());
        assert!(one.base().abs_diff(two.base()) >= BLOCK);
    }

    #[test]
    fn a_dropped_block_can_be_had_again() {
        let bases: Vec<u16> = (0..3).map(|_| Ports::reserve().base()).collect();
        assert_eq!(bases[0], bases[2]);
    }
}
