//! A relay between client and server that counts the bytes and can stop forwarding.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Forwards bytes to a server. It ends with the process.
pub(crate) struct Relay {
    pub(crate) endpoint: String,
    sent: Arc<AtomicU64>,
}

impl Relay {
    /// A relay to `endpoint` that forwards `limit` bytes of responses in all, and then keeps the connections open and silent.
    pub(crate) fn start(endpoint: &str, limit: u64) -> Self {
        let server = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let sent = Arc::new(AtomicU64::new(0));
        let counter = sent.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, counter) = (client.unwrap(), counter.clone());
                let upstream = TcpStream::connect(&server).unwrap();
                let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
                std::thread::spawn(move || pass(upstream, client, &counter, limit));
            }
        });
        Self { endpoint: own, sent }
    }

    /// The number of forwarded bytes of responses, including their headers.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

fn pass(mut server: TcpStream, mut client: TcpStream, sent: &AtomicU64, limit: u64) {
    let mut block = vec![0; 4096];
    loop {
        let room = limit.saturating_sub(sent.load(Ordering::SeqCst)).min(block.len() as u64) as usize;
        if room == 0 {
            // The connection stays open, so that the client reaches its read timeout.
            loop {
                std::thread::park();
            }
        }
        match server.read(&mut block[..room]) {
            Ok(count @ 1..) if client.write_all(&block[..count]).is_ok() => {
                sent.fetch_add(count as u64, Ordering::SeqCst);
            }
            _ => {
                let _ = client.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}
