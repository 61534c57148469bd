//! PostgreSQL servers of our own: in a temporary folder, on a Unix socket, as nobody if we are root.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// Of the user `nobody`: the server refuses to run as root.
const NOBODY: u32 = 65_534;
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of the server's programs, wherever this system has it.
pub(crate) fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut versions: Vec<_> = versions.flatten().map(|entry| entry.path()).collect();
    versions.sort();
    folders.extend(versions.into_iter().rev().map(|folder| folder.join("bin")));
    folders.push("/usr/local/pgsql/bin".into());
    let complete = |folder: &PathBuf| {
        ["initdb", "postgres"]
            .iter()
            .all(|p| folder.join(p).exists())
    };
    folders.into_iter().find(complete)
}

/// A server and its one database.
pub(crate) struct Server {
    folder: Folder,
    prepared_max: u32,
    child: Option<Child>,
    _template: Arc<Folder>,
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// Where a server has its files. Removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, SeqCst);
        // Short: the path of a socket may have 107 bytes.
        let dir = std::env::temp_dir().join(format!("pg-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        if is_root() {
            chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Self(dir)
    }

    /// An empty database, made once and copied by everybody who needs one at the same time.
    fn template() -> Arc<Self> {
        static TEMPLATE: Mutex<Weak<Folder>> = Mutex::new(Weak::new());
        let mut made = TEMPLATE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.upgrade() {
            return made;
        }
        let folder = Arc::new(Self::new());
        let mut initdb = folder.command(&programs().expect("looked for before").join("initdb"));
        initdb.args([
            "--username=bank",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        initdb.arg("--no-sync").arg("--pgdata").arg(folder.data());
        let status = initdb.stdout(Stdio::null()).status();
        assert!(status.unwrap().success(), "initdb has failed");
        *made = Arc::downgrade(&folder);
        folder
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.0);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Server {
    /// A new database, started, that lets `prepared_max` transactions be prepared.
    pub(crate) async fn start(prepared_max: u32) -> Self {
        let template = Folder::template();
        let folder = Folder::new();
        let mut copy = folder.command(Path::new("cp"));
        copy.arg("-R").arg(template.data()).arg(folder.data());
        assert!(
            copy.status().unwrap().success(),
            "the database is not copied"
        );
        let mut server = Self {
            folder,
            prepared_max,
            child: None,
            _template: template,
        };
        server.restart().await;
        server
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.folder.0
    }

    /// Starts it, after a crash too, and waits until it serves.
    pub(crate) async fn restart(&mut self) {
        let until = Instant::now() + PATIENCE;
        loop {
            self.spawn();
            while self.try_connect().await.is_err() {
                assert!(Instant::now() < until, "the server does not start");
                tokio::time::sleep(Duration::from_millis(20)).await;
                // Processes of the run before may still be dying; then it gives up at once.
                if self.has_ended() {
                    break;
                }
            }
            if !self.has_ended() {
                return;
            }
        }
    }

    fn spawn(&mut self) {
        let mut log = fs::OpenOptions::new();
        log.create(true).append(true);
        let log = log.open(self.folder.0.join("log")).unwrap();
        let child = self
            .folder
            .command(&programs().expect("looked for before").join("postgres"))
            .arg("-D")
            .arg(self.folder.data())
            .arg("-k")
            .arg(&self.folder.0)
            .args(["-c", "listen_addresses="])
            .args([
                "-c",
                &format!("max_prepared_transactions={}", self.prepared_max),
            ])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
    }

    fn has_ended(&mut self) -> bool {
        match &mut self.child {
            Some(child) => child.try_wait().unwrap().is_some(),
            None => true,
        }
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// SIGKILL. Its children notice by themselves.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// Starts it again if somebody has killed it. Whether somebody had.
    pub(crate) async fn revive(&mut self) -> bool {
        let ended = self.has_ended();
        if ended {
            self.kill();
            self.restart().await;
        }
        ended
    }

    /// As `postgres_transfer` wants it.
    pub(crate) fn address(&self) -> String {
        format!("host={} user=bank dbname=postgres", self.folder.0.display())
    }

    pub(crate) fn config(&self) -> Config {
        self.address().parse().unwrap()
    }

    async fn try_connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.config().connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// The first column of what a query gives.
    pub(crate) async fn query(&self, sql: &str) -> Vec<String> {
        let client = self.try_connect().await.unwrap();
        let answer = client.simple_query(sql).await.unwrap();
        let rows = answer.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        rows.collect()
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.query(sql).await[0].parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // An immediate shutdown takes its children along.
            let quit = Command::new("kill")
                .args(["-QUIT", &child.id().to_string()])
                .status();
            if !quit.is_ok_and(|status| status.success()) {
                let _ = child.kill();
            }
            let _ = child.wait();
        }
    }
}
