//! A socket with emulated links in front of it: real packets, no privileges.

use crate::link::{Fate, LinkControl};
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BinaryHeap},
    fmt,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll, ready},
    thread,
    time::{Duration, Instant},
};

/// Packets under way at a time; more are lost, as in any router.
const UNDER_WAY: usize = 1 << 16;

pub(crate) struct Emulated {
    socket: Arc<dyn AsyncUdpSocket>,
    control: LinkControl,
    /// Started with the first delayed packet.
    wire: OnceLock<Arc<Wire>>,
}

impl fmt::Debug for Emulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulated")
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

impl Emulated {
    pub(crate) const fn new(socket: Arc<dyn AsyncUdpSocket>, control: LinkControl) -> Self {
        Self {
            socket,
            control,
            wire: OnceLock::new(),
        }
    }

    fn wire(&self) -> &Arc<Wire> {
        self.wire
            .get_or_init(|| Wire::start(Arc::clone(&self.socket)))
    }

    /// One datagram, as its fate wants it.
    fn send(&self, transmit: &Transmit<'_>, contents: &[u8], fate: Fate) {
        for delay in fate.copies.into_iter().flatten() {
            let one = Transmit {
                contents,
                segment_size: None,
                ..transmit.clone()
            };
            let is_behind = |wire: &Arc<Wire>| wire.is_busy(one.destination);
            let is_late = !delay.is_zero() || self.wire.get().is_some_and(is_behind);
            if is_late || self.socket.try_send(&one).is_err() {
                self.wire().put(&one, delay, fate.overtakes);
            }
        }
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        if let Some(wire) = self.wire.get() {
            wire.lock().is_closed = true;
            wire.changed.notify_one();
        }
    }
}

impl AsyncUdpSocket for Emulated {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if !self.control.is_active() && self.wire.get().is_none_or(|wire| wire.is_idle()) {
            return self.socket.try_send(transmit);
        }
        let size = transmit
            .segment_size
            .unwrap_or(transmit.contents.len())
            .max(1);
        for contents in transmit.contents.chunks(size) {
            self.send(transmit, contents, self.control.fate(transmit.destination));
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.socket.poll_recv(context, buffers, meta))?;
        if self.control.is_active() {
            for one in &mut meta[..count] {
                if !self.control.hears(one.addr) {
                    // A datagram of no bytes is ignored by the QUIC library.
                    one.len = 0;
                }
            }
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

/// Packets under way. A thread of its own sends them: the runtime's timer is too coarse (1 ms) for
/// links between neighbouring rooms.
struct Wire {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    packets: BinaryHeap<Packet>,
    /// When the last packet to an address arrives: those that may not overtake come after it.
    last: BTreeMap<SocketAddr, Instant>,
    count: u64,
    is_closed: bool,
}

struct Packet {
    due: Instant,
    number: u64,
    to: SocketAddr,
    ecn: Option<EcnCodepoint>,
    from: Option<IpAddr>,
    contents: Box<[u8]>,
}

// The earliest first, in a heap that puts the greatest first.
impl Ord for Packet {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

impl PartialOrd for Packet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Packet {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Packet {}

impl Wire {
    fn start(socket: Arc<dyn AsyncUdpSocket>) -> Arc<Self> {
        let wire = Arc::new(Self {
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        let run = Arc::clone(&wire);
        let started = thread::Builder::new().name("emulated-link".into());
        let started = started.spawn(move || run.run(&*socket));
        if let Err(error) = started {
            tracing::error!(%error, "no thread for emulated links: delayed packets are lost");
        }
        wire
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle(&self) -> bool {
        self.lock().packets.is_empty()
    }

    /// Whether a packet to this address is under way.
    fn is_busy(&self, to: SocketAddr) -> bool {
        let queue = self.lock();
        !queue.packets.is_empty() && queue.last.get(&to).is_some_and(|due| *due > Instant::now())
    }

    fn put(&self, transmit: &Transmit<'_>, delay: Duration, overtakes: bool) {
        let mut queue = self.lock();
        if queue.packets.len() >= UNDER_WAY {
            return;
        }
        let to = transmit.destination;
        let mut due = Instant::now() + delay;
        if !overtakes {
            due = queue.last.get(&to).map_or(due, |last| due.max(*last));
            queue.last.insert(to, due);
        }
        queue.count += 1;
        let packet = Packet {
            due,
            number: queue.count,
            to,
            ecn: transmit.ecn,
            from: transmit.src_ip,
            contents: transmit.contents.into(),
        };
        let is_first = queue
            .packets
            .peek()
            .is_none_or(|first| packet.due < first.due);
        queue.packets.push(packet);
        drop(queue);
        if is_first {
            self.changed.notify_one();
        }
    }

    fn run(&self, socket: &dyn AsyncUdpSocket) {
        let mut queue = self.lock();
        while !queue.is_closed {
            let Some(first) = queue.packets.peek() else {
                queue.last.clear();
                queue = self
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = first.due.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                let waited = self.changed.wait_timeout(queue, left);
                queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let Some(packet) = queue.packets.pop() else {
                continue;
            };
            drop(queue);
            packet.send(socket);
            queue = self.lock();
        }
    }
}

impl Packet {
    /// Sends it, or after some tries loses it, as a link does whose buffer is full.
    fn send(&self, socket: &dyn AsyncUdpSocket) {
        let transmit = Transmit {
            destination: self.to,
            ecn: self.ecn,
            contents: &self.contents,
            segment_size: None,
            src_ip: self.from,
        };
        for _ in 0..20 {
            match socket.try_send(&transmit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_micros(50));
                }
                _ => return,
            }
        }
    }
}
