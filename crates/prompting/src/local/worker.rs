//! The thread that owns a model: jobs in by a queue, whatever they make out by their own channels.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use idiolect_model::tch;
use idiolect_model::{Model, ModelConfig};

use crate::{Error, Result};

/// What the worker does with its model.
pub(super) type Job = Box<dyn FnOnce(&Model) + Send>;

/// The thread and the way into it. Jobs run one after another; dropping it lets the last one end.
pub(super) struct Worker {
    queue: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Loads the model on a new thread; comes back once it is there, with its configuration.
    pub(super) fn start(
        load: impl FnOnce() -> idiolect_model::Result<Model> + Send + 'static,
    ) -> Result<(Self, ModelConfig)> {
        let (queue, jobs) = mpsc::channel::<Job>();
        let (loaded, result) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("model".to_owned())
            .spawn(move || {
                // The mode is the thread's own, and nothing here is ever trained.
                let _no_gradient = tch::no_grad_guard();
                let mut model = match load() {
                    Ok(model) => model,
                    Err(error) => return drop(loaded.send(Err(error))),
                };
                model.train(false);
                let _ = loaded.send(Ok(model.config()));
                for job in jobs {
                    // A bug in one job must not take the model from the next caller.
                    let _ = catch_unwind(AssertUnwindSafe(|| job(&model)));
                }
            })
            .map_err(Error::Thread)?;
        let worker = Self { queue: Some(queue), thread: Some(thread) };
        let config = result.recv().map_err(|_| Error::WorkerGone)??;
        Ok((worker, config))
    }

    /// Puts a job into the queue.
    pub(super) fn submit(&self, job: Job) -> Result<()> {
        self.queue.as_ref().and_then(|queue| queue.send(job).ok()).ok_or(Error::WorkerGone)
    }

    /// Runs `work` on the model and waits for what it makes.
    pub(super) fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Model) -> T + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = mpsc::channel();
        self.submit(Box::new(move |model| drop(reply.send(work(model)))))?;
        answer.recv().map_err(|_| Error::WorkerGone)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Closing the queue ends the thread; libtorch must not be torn down while it computes.
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
