//! Answers that a system makes in the background: asked for, waited for, fetched.

use super::answer::Reply;
use super::forms::Extra;
use super::line::Line;
use super::manifest::{Job, Request};
use super::scope::View;
use super::waits::Waits;
use crate::clock::{Clock, later};
use crate::message::{Fault, Value};

/// How often one question about a job is asked again: a job that runs is not given up for a lost answer.
const TIMES: u32 = 5;

/// A job that is done.
#[derive(Debug)]
pub struct Done {
    /// `$job`: the last answer to `poll`.
    pub job: Value,
    /// The answer that holds the items, where no `download` fetches it.
    pub reply: Option<Reply>,
}

impl Job {
    /// The request that fetches the answer, page by page.
    pub fn fetch(&self) -> &Request {
        self.download.as_ref().unwrap_or(&self.poll)
    }

    /// Asks for the answer and waits until it is there. Dropped at any wait, it leaves nothing behind but the job in the system.
    ///
    /// # Errors
    /// `CONNECTOR-JOB` (retry) where the job fails or takes too long; what [`Line::ask`] says.
    pub(super) async fn run(&self, line: &Line, view: &View<'_>, clock: &Clock) -> Result<Done, Fault> {
        let end = later(clock.now(), self.within);
        let mut locals = view.locals.clone();
        // Not asked again here: a system that did not answer may have begun.
        let created = line.ask(&self.create, view, &Extra::default()).await?;
        locals.insert("job", created.body);
        loop {
            clock.sleep(self.every).await;
            let reply = ask(line, &self.poll, &view.with_locals(&locals), clock).await?;
            locals.insert("job", reply.body.clone());
            if self.is_done(&view.with_locals(&locals), &reply)? {
                let job = locals.remove("job").unwrap_or_default();
                return Ok(Done { job, reply: self.download.is_none().then_some(reply) });
            }
            if clock.now() >= end {
                let said = format!("a job was not done within {:?}", self.within);
                return Err(Fault::retry("CONNECTOR-JOB", said));
            }
        }
    }

    fn is_done(&self, view: &View<'_>, reply: &Reply) -> Result<bool, Fault> {
        let view = view.of_answer(&reply.body, &reply.headers);
        if let Some(failed) = &self.failed
            && view.holds_if_there(failed, "job.failed")?
        {
            return Err(Fault::retry("CONNECTOR-JOB", "the system says that a job failed"));
        }
        view.holds_if_there(&self.done, "job.done")
    }
}

async fn ask(line: &Line, request: &Request, view: &View<'_>, clock: &Clock) -> Result<Reply, Fault> {
    let mut waits = Waits::new(clock, TIMES);
    loop {
        match line.ask(request, view, &Extra::default()).await {
            Ok(reply) => return Ok(reply),
            Err(fault) => waits.after(fault).await?,
        }
    }
}
