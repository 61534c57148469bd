//! A shell on another machine that takes one order after another.

use anyhow::{Context as _, anyhow, bail};
use std::{process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

/// No order takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// A shell whose input has ended has cleaned up by then.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

/// What the shell is to do, and who wants to know how it went.
struct Order {
    script: String,
    answer: Option<oneshot::Sender<anyhow::Result<String>>>,
}

/// The shell. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Shell {
    orders: mpsc::UnboundedSender<Order>,
    serving: JoinHandle<()>,
}

impl Shell {
    /// Starts it.
    ///
    /// # Errors
    /// When the program that reaches it cannot be run.
    pub(super) fn open(mut command: Command) -> anyhow::Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting ssh")?;
        let stdin = process.stdin.take().context("standard input is piped")?;
        let stdout = process.stdout.take().context("standard output is piped")?;
        let (orders, inbox) = mpsc::unbounded_channel();
        let ends = Ends {
            process,
            stdin,
            stdout: BufReader::new(stdout).lines(),
            mark: format!("done-{:x}", rand::random::<u64>()),
        };
        Ok(Self {
            orders,
            serving: tokio::spawn(ends.serve(inbox)),
        })
    }

    /// Has a script carried out and waits for what it says.
    ///
    /// # Errors
    /// What it says when it fails; that the connection was lost.
    pub(super) async fn ask(&self, script: &str) -> anyhow::Result<String> {
        let (answer, answered) = oneshot::channel();
        // A shell that has ended answers nothing, which is said below.
        let _ = self.orders.send(Order {
            script: script.to_owned(),
            answer: Some(answer),
        });
        match timeout(PATIENCE, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => bail!("the connection was lost"),
            Err(_) => bail!("no answer within {} s", PATIENCE.as_secs()),
        }
    }

    /// Has a script carried out, after all that was asked for before.
    pub(super) fn tell(&self, script: &str) {
        let _ = self.orders.send(Order {
            script: script.to_owned(),
            answer: None,
        });
    }

    /// Ends it, and waits until it has cleaned up.
    pub(super) async fn close(self) {
        drop(self.orders);
        let _ = self.serving.await;
    }
}

struct Ends {
    process: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    /// Stands before the status of each order.
    mark: String,
}

impl Ends {
    async fn serve(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        while let Some(order) = inbox.recv().await {
            let done = self.carry_out(&order.script).await;
            match (done, order.answer) {
                (Ok(done), Some(answer)) => {
                    let _ = answer.send(done);
                }
                (Ok(_), None) => {}
                // Nobody is there any more: the senders of what is left see it.
                (Err(lost), answer) => {
                    if let Some(answer) = answer {
                        let _ = answer.send(Err(lost));
                    }
                    return;
                }
            }
        }
        drop(self.stdin);
        let _ = timeout(CLOSED_WITHIN, self.process.wait()).await;
    }

    /// What the script said; an error within when its status is not zero.
    async fn carry_out(&mut self, script: &str) -> anyhow::Result<anyhow::Result<String>> {
        let mark = &self.mark;
        let text =
            format!("{{ {script}\n}} </dev/null 2>&1\n_status=$?\necho\necho {mark} $_status\n");
        if self.stdin.write_all(text.as_bytes()).await.is_err() {
            return Err(self.lost().await);
        }
        let mut said = Vec::new();
        while let Ok(Some(line)) = self.stdout.next_line().await {
            if let Some(status) = line.strip_prefix(mark.as_str()) {
                let said = said.join("\n").trim_end().to_owned();
                return Ok(match status.trim() {
                    "0" => Ok(said),
                    status => Err(anyhow!("{said} (status {status})")),
                });
            }
            said.push(line);
        }
        Err(self.lost().await)
    }

    /// Why nothing more comes: ssh's own words.
    async fn lost(&mut self) -> anyhow::Error {
        let mut words = String::new();
        if let Some(errors) = &mut self.process.stderr {
            let _ = timeout(Duration::from_secs(1), errors.read_to_string(&mut words)).await;
        }
        match words.trim() {
            "" => anyhow!("the connection was lost"),
            words => anyhow!("the connection was lost: {words}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell() -> Shell {
        let mut command = Command::new("sh");
        command.arg("-s").kill_on_drop(true);
        Shell::open(command).expect("there is a shell")
    }

    #[tokio::test]
    async fn orders_are_carried_out_in_turn_and_answered() {
        let shell = shell();
        shell.tell("x=7");
        assert_eq!(
            shell.ask("echo $x; printf end").await.expect("it works"),
            "7\nend"
        );
        let error = shell.ask("echo no; false").await.expect_err("it fails");
        assert_eq!(error.to_string(), "no (status 1)");
        let text = "cat <<'E'\nline $x\nE\ntrue";
        assert_eq!(shell.ask(text).await.expect("it works"), "line $x");
    }

    #[tokio::test]
    async fn a_shell_that_is_gone_says_why() {
        let shell = shell();
        let error = shell
            .ask("echo refused >&3; exit 3")
            .await
            .expect_err("it is gone");
        assert!(
            error.to_string().contains("the connection was lost"),
            "{error}"
        );
        let error = shell.ask("true").await.expect_err("it is gone");
        assert_eq!(error.to_string(), "the connection was lost");
    }

    #[tokio::test]
    async fn closing_waits_for_what_the_shell_does_at_its_end() {
        let file = std::env::temp_dir().join(format!("xtask-shell-{}", std::process::id()));
        let shell = shell();
        let trap = format!("trap 'echo bye > {}' EXIT", file.display());
        shell.ask(&trap).await.expect("it works");
        shell.close().await;
        assert_eq!(
            std::fs::read_to_string(&file).expect("it was written"),
            "bye\n"
        );
        std::fs::remove_file(&file).expect("it is ours");
    }
}
