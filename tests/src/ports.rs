//! Ports of the loopback for servers that must be told theirs before they start.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Mutex;

/// Below the ports that systems give to connections as they are opened, so that none of these takes one before it is served.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port of TCP that nobody serves, and that this process gives to no test again, nor another that takes its own here.
///
/// # Panics
/// Where there is none.
pub fn free_port() -> u16 {
    // The same number's port of UDP is held for as long as this process lives: one system call, and gone with the process.
    static TAKEN: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().expect("no test panics here");
    // Elsewhere for each process: what the last one served may not be over yet.
    let first = std::process::id() as usize * 97;
    for n in 0..PORTS.len() {
        let port = PORTS.start + ((first + n) % PORTS.len()) as u16;
        let Ok(held) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else { continue };
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            taken.push(held);
            return port;
        }
    }
    panic!("no free port from {} to {}", PORTS.start, PORTS.end - 1)
}

/// [`free_port`] with the address of the loopback, as flags take it.
pub fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}
