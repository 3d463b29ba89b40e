//! A producer with a thread that hands out its delivery reports and events as they come.
//!
//! rdkafka has one too, but its poll turns without pause through the last millisecond of each 100 ms, which costs
//! an idle producer 1 % of a core. This one sleeps until librdkafka says that there is something.

use std::ffi::c_void;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::bindings as native;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

use crate::consumer::Wake;

/// The longest sleep: nothing depends on it, it bounds the harm of a missed wake-up.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The producer. Dropping it waits for its thread, and for librdkafka to end.
pub(crate) struct Polled<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    awake: Arc<Awake>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread waits for.
#[derive(Default)]
struct Awake {
    wake: Wake,
    stop: AtomicBool,
}

impl<C: ProducerContext + 'static> Polled<C> {
    /// Creates the client and its thread. Nothing is connected yet.
    ///
    /// # Errors
    /// The setting that librdkafka refuses, or why there is no thread.
    pub(crate) fn create(config: &ClientConfig, context: C) -> KafkaResult<Self> {
        let producer: Arc<BaseProducer<C>> = Arc::new(config.create_with_context(context)?);
        let awake = Arc::new(Awake::default());
        let (polled, woken) = (producer.clone(), awake.clone());
        let thread = thread::Builder::new()
            .name("kafka-reports".to_owned())
            .spawn(move || hand_out(&polled, &woken))
            .map_err(|why| KafkaError::ClientCreation(why.to_string()))?;
        Ok(Self { producer, awake, thread: Some(thread) })
    }
}

impl<C: ProducerContext + 'static> Deref for Polled<C> {
    type Target = BaseProducer<C>;

    fn deref(&self) -> &BaseProducer<C> {
        &self.producer
    }
}

impl<C: ProducerContext + 'static> Drop for Polled<C> {
    fn drop(&mut self) {
        self.awake.stop.store(true, Ordering::Release);
        self.awake.wake.wake();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread of delivery reports panicked");
        }
    }
}

fn hand_out<C: ProducerContext>(producer: &BaseProducer<C>, awake: &Awake) {
    let queue = Queue::of(producer, awake);
    while !awake.stop.load(Ordering::Acquire) {
        producer.poll(Duration::ZERO);
        if queue.is_empty() {
            awake.wake.wait(LOOK_EVERY);
        }
    }
}

/// The queue that a producer's poll empties, for as long as it wakes somebody.
struct Queue<'a> {
    queue: *mut native::rd_kafka_queue_t,
    _awake: &'a Awake,
}

impl<'a> Queue<'a> {
    #[expect(unsafe_code, reason = "a producer's queue can be watched in the C interface only")]
    fn of<C: ProducerContext>(producer: &BaseProducer<C>, awake: &'a Awake) -> Self {
        let opaque = std::ptr::from_ref(awake).cast_mut().cast();
        // SAFETY: the client lives as long as the borrow; the reference to its queue is given back in drop, which
        // also ends the calls with `awake`, and that is borrowed until then.
        let queue = unsafe {
            let queue = native::rd_kafka_queue_get_main(producer.client().native_ptr());
            native::rd_kafka_queue_cb_event_enable(queue, Some(enqueued), opaque);
            queue
        };
        Self { queue, _awake: awake }
    }

    #[expect(unsafe_code, reason = "a producer's queue can be watched in the C interface only")]
    fn is_empty(&self) -> bool {
        // SAFETY: the reference to the queue is ours until drop.
        unsafe { native::rd_kafka_queue_length(self.queue) == 0 }
    }
}

impl Drop for Queue<'_> {
    #[expect(unsafe_code, reason = "a producer's queue can be watched in the C interface only")]
    fn drop(&mut self) {
        // SAFETY: the reference is ours and not used again; librdkafka calls back under the queue's lock, so no
        // call is under way once the callback is taken away.
        unsafe {
            native::rd_kafka_queue_cb_event_enable(self.queue, None, std::ptr::null_mut());
            native::rd_kafka_queue_destroy(self.queue);
        }
    }
}

#[expect(unsafe_code, reason = "librdkafka calls it with the pointer it was given")]
unsafe extern "C" fn enqueued(_: *mut native::rd_kafka_t, awake: *mut c_void) {
    // SAFETY: it is the `Awake` that `Queue::of` gave, borrowed for longer than these calls come.
    let awake = unsafe { &*awake.cast::<Awake>() };
    awake.wake.wake();
}
