//! A live run on one machine: gateway, control loop, admin port and child processes, put together from files that people write. What
//! `replay` is to the simulator, this is to the local backend. It decides nothing.

pub(crate) mod book;
mod control;
pub mod files;
mod rollout;
pub mod shares;
pub mod told;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};

pub use book::Routing;
pub use shares::{CannotShare, Cut};
pub use told::{Listener, Told, Weight};

use crate::admin::guard::Guard;
use crate::admin::order::Ordered;
use crate::admin::{Admin, ORDERS_AT_MOST};
use crate::backend::local::gpus::{self, Gpu};
use crate::backend::local::machine::{Machine, Place};
use crate::backend::local::process::{Settings as ChildSettings, Supervisor};
use crate::backend::local::state::{State, StateError};
use crate::clock::Clock;
use crate::definitions::node::Fleet;
use crate::definitions::service::Service;
use crate::engine::{Engine, Options};
use crate::journal::{Begin, Journal, KeepLimits, Source, Sources};
use crate::proxy::{self, Gateway};
use crate::run::run;
use crate::status::{Rules, RunPhase, Status, StatusBuilder};
use crate::swap::{self, Making, Refused, Sandboxes, Swapper};
use crate::time::Time;
use book::Book;
use control::{Control, Offer, Workshop};

/// How long raw seconds are kept, so that other policies do not start blind. Seconds.
const KEEPS_S: u32 = 600;
/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Offers of changed files that wait for the loop: one at a time is looked at.
const OFFERS_AT_MOST: usize = 4;
/// How long children may take to end once everything is over, beside their own grace.
const LAST_GRACE: Duration = Duration::from_secs(30);

/// Reads the files of services anew. What is wrong comes back as text for people.
pub type ReadServices = Arc<dyn Fn() -> Result<Vec<Service>, String> + Send + Sync>;

/// All that a live run is given.
pub struct Setting {
    /// What is to be served.
    pub services: Vec<Service>,
    /// Their files, and how they are read when they change.
    pub service_files: (Vec<PathBuf>, ReadServices),
    /// The files of policies and profile; they are followed.
    pub policies: swap::Sources,
    /// Policies that decide in their shadow.
    pub shadow: Option<PathBuf>,
    /// Where policies run.
    pub sandboxes: Sandboxes,
    /// What there is to place on, and the GPUs of each node.
    pub fleet: (Fleet, BTreeMap<String, Vec<Gpu>>),
    /// What was configured, for the journal.
    pub sources: Sources,
    /// Where requests come in.
    pub listen: SocketAddr,
    /// What the gateway allows.
    pub gateway: proxy::Settings,
    /// How requests find services.
    pub routing: Routing,
    /// Where the admin port is, and who may ask there.
    pub admin: (SocketAddr, Guard),
    /// Where journal, logs and what runs are kept.
    pub state: PathBuf,
    /// How the journal is kept.
    pub journal: KeepLimits,
    /// Whether plans are made and not carried out.
    pub is_dry_run: bool,
}

/// A live run that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The state folder cannot be had.
    #[error(transparent)]
    State(#[from] StateError),
    /// Services that do not go together with each other.
    #[error(transparent)]
    Share(#[from] CannotShare),
    /// A service fits on no node, even if that is empty.
    #[error(
        "{service} takes {gpus} GPUs, {memory_gib:.1} GiB of memory and {cpus} CPUs: no node has that"
    )]
    FitsNowhere {
        /// The service.
        service: String,
        /// GPUs that a replica takes.
        gpus: f64,
        /// Memory that it takes. GiB.
        memory_gib: f64,
        /// CPUs that it takes.
        cpus: f64,
    },
    /// A service that nobody can start.
    #[error("{service} has no command: nothing can be started for it")]
    NoCommand {
        /// The service.
        service: String,
    },
    /// Policies, profile and services are not in order, or do not go together.
    #[error("{}", view::at_start(.0))]
    Policies(Box<Refused>),
    /// An address cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The system has no more threads or processes to give.
    #[error("cannot start {what}")]
    System {
        /// What could not be started.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// A live run.
pub struct Live {
    /// Where requests come in: with the port that was given where none was named.
    pub address: SocketAddr,
    /// Where the admin port is.
    pub admin: SocketAddr,
    /// What is live.
    pub status: watch::Receiver<Arc<Status>>,
    stop: watch::Sender<bool>,
    over: watch::Sender<bool>,
    phase: watch::Sender<RunPhase>,
    gateway: tokio::task::JoinHandle<proxy::Ended>,
    control: std::thread::JoinHandle<()>,
    ended: tokio::sync::oneshot::Receiver<()>,
}

impl Live {
    /// Starts everything; what happens is told to `listener`. Called within `runtime`, a runtime of several threads.
    ///
    /// # Errors
    ///
    /// When services, policies or addresses are not in order; nothing runs then.
    pub async fn start(
        setting: Setting,
        runtime: Handle,
        mut listener: Listener,
    ) -> Result<Live, LiveError> {
        let clock = Arc::new(Clock::start());
        let cut = Cut::new(&setting.fleet.0, &setting.services)?;
        check(&setting.services, &cut)?;
        let (state, stale) = State::open(&setting.state)?;
        if let Some(stale) = stale {
            listener(Told {
                at: clock.now(),
                weight: Weight::Warning,
                service: String::new(),
                text: stale.to_string(),
            });
        }
        let folder = state.folder().to_owned();
        let system = |what| move |source| LiveError::System { what, source };
        let children = ChildSettings::of_this_program().map_err(system("child processes"))?;
        let supervised = Supervisor::start(children, state, runtime.clone())
            .map_err(system("child processes"))?;

        let bind =
            |address| proxy::bind(address).map_err(|source| LiveError::Listen { address, source });
        let (listening, admin_listening) = (bind(setting.listen)?, bind(setting.admin.0)?);
        let local = |listener: &tokio::net::TcpListener, address| {
            listener.local_addr().map_err(|source| LiveError::Listen { address, source })
        };
        let address = local(&listening, setting.listen)?;
        let admin_address = local(&admin_listening, setting.admin.0)?;

        let (gateway, fates) = Gateway::new(setting.gateway.clone(), clock.clone());
        let wake = Arc::new(Notify::new());
        let mut book = Book::new(clock.clone(), wake.clone());
        book.follow(setting.services.clone());
        let (stop, mut stopped) = watch::channel(false);
        let (over, is_over) = watch::channel(false);
        let (phase, phased) = watch::channel(RunPhase::Starting);
        let (orders_in, orders) = mpsc::channel::<Ordered>(ORDERS_AT_MOST);
        let (offers_in, offers) = mpsc::channel(OFFERS_AT_MOST);
        let rules = Rules {
            started_at: clock.now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            is_dry_run: setting.is_dry_run,
        };
        let options =
            Options { explains: true, makes_room: true, keeps_s: KEEPS_S, ..Options::default() };
        let targets = book.targets(&cut, |_, _| 0);
        let making = Making { options, targets, sandboxes: setting.sandboxes };
        // Ticks count from here, and so fall on whole seconds: that is when the doors close their reports. A tick just before would decide
        // on what is a second old.
        let started_at = Time(clock.now().second() * 1_000);
        let policies = |refused| LiveError::Policies(Box::new(refused));
        let (swapper, engine) =
            Swapper::start(setting.policies, making, started_at).map_err(policies)?;
        let shadow = match setting.shadow {
            None => None,
            Some(path) => {
                let shadow = swapper.shadow(&path, &engine, started_at).map_err(policies)?;
                Some((path, shadow))
            }
        };
        let places = places(&cut, &setting.fleet.1);
        let mut machine =
            Machine::new(clock.clone(), supervised, places, wake, is_over, setting.is_dry_run);
        machine.follow(book.setup(&engine, &cut));
        let nudge = machine.nudge();
        // What is shown until the loop has made its first step.
        let first = Status { at: started_at, started_at, ..Status::default() };
        let mut control = Control {
            clock: clock.clone(),
            tick_ms: engine.options().tick_ms,
            book,
            rollouts: Default::default(),
            routing: setting.routing,
            gateway: gateway.clone(),
            swapper,
            recent: Default::default(),
            shadow,
            pending: None,
            workshop: Workshop {
                runtime: runtime.clone(),
                offers: offers_in.clone(),
                nudge: nudge.clone(),
            },
            sources: setting.sources,
            journal_folder: folder.join("journal"),
            orders,
            offers,
            fates,
            registry: Vec::new(),
            status: StatusBuilder::new(rules),
            publish: watch::channel(Arc::new(first)).0,
            phase: phased,
            tell: listener,
            pins: BTreeMap::new(),
            ended: BTreeSet::new(),
            differences: 0,
            wanted: None,
            gpu_seconds: BTreeMap::new(),
            cost_usd: 0.0,
            looked_at: Default::default(),
            published: 0,
            missed_ticks: 0,
            wakes_at: Default::default(),
            started_at,
            cut,
        };
        control.set_routes();
        let status = control.publish.subscribe();
        let journal_folder = control.journal_folder.clone();
        let limits = setting.journal;
        let (ended_in, ended) = tokio::sync::oneshot::channel();
        let thread = std::thread::Builder::new().name("control".to_owned());
        let header = control.header(&engine, started_at);
        let control = thread
            .spawn(move || {
                let journal = Journal::live(&journal_folder, limits, Begin::first(header));
                let mut journal = journal.unwrap_or_else(|error| {
                    control.warn(format!("no journal is written: {}", chain_of(&error)));
                    Journal::none()
                });
                control.keep_components(&mut journal);
                loop_on_its_own(engine, machine, journal, control);
                // Whoever waits for it may have gone away.
                let _ = ended_in.send(());
            })
            .map_err(system("the control loop's thread"))?;
        let (orders_out, order_nudge) = (orders_in, nudge.clone());
        let admin = Admin {
            guard: setting.admin.1,
            status: status.clone(),
            orders: forward(&runtime, orders_out, order_nudge),
            clock: clock.clone(),
        };
        let mut admin_over = over.subscribe();
        runtime.spawn(async move {
            let until = async move {
                // A sender that is gone wants nothing more either.
                let _ = admin_over.wait_for(|over| *over).await;
            };
            // It ends with the run; that it failed is seen by whoever asks it.
            let _ = crate::admin::serve(admin, admin_listening, until).await;
        });
        let (files, read) = setting.service_files;
        runtime.spawn_blocking({
            let over = over.subscribe();
            move || watch_files(&files, &read, &offers_in, &nudge, &over)
        });
        let gateway = runtime.spawn(async move {
            let shutdown = async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            proxy::serve(listening, gateway, shutdown).await
        });
        phase.send_replace(RunPhase::Running);
        Ok(Live {
            address,
            admin: admin_address,
            status,
            stop,
            over,
            phase,
            gateway,
            control,
            ended,
        })
    }

    /// Ends it in good order: no request is taken in any more, those that are in are answered, then the children end. Whether all were
    /// answered.
    pub async fn stop(self) -> bool {
        self.phase.send_replace(RunPhase::Stopping);
        self.stop.send_replace(true);
        let ended = self.gateway.await;
        self.over.send_replace(true);
        let _ = self.ended.await;
        // It has said that it ended.
        let _ = self.control.join();
        ended.is_ok_and(|ended| ended.is_clean)
    }
}

/// The loop, on a thread of its own.
fn loop_on_its_own(
    mut engine: Engine,
    mut machine: Machine,
    mut journal: Journal<'_>,
    mut control: Control,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime with a timer needs nothing from the system");
    runtime.block_on(async {
        match run(&mut engine, &mut machine, &mut journal, &mut control).await {
            Ok(()) => {}
            Err(never) => match never {},
        }
        // Each child has its own grace, after which it is killed.
        let patience = machine.longest_grace() + LAST_GRACE;
        let _ = tokio::time::timeout(patience, machine.end()).await;
    });
    control.finish(&mut journal);
    journal.finish();
}

/// Orders reach the loop, which is told that there is one.
fn forward(
    runtime: &Handle,
    to: mpsc::Sender<Ordered>,
    nudge: Arc<Notify>,
) -> mpsc::Sender<Ordered> {
    let (from, mut given) = mpsc::channel(ORDERS_AT_MOST);
    runtime.spawn(async move {
        while let Some(order) = given.recv().await {
            if to.send(order).await.is_err() {
                return;
            }
            nudge.notify_one();
        }
    });
    from
}

/// Offers the services anew whenever their files change, and has the loop look after what else may have, until it is over.
fn watch_files(
    files: &[PathBuf],
    read: &ReadServices,
    offers: &mpsc::Sender<Offer>,
    nudge: &Notify,
    over: &watch::Receiver<bool>,
) {
    let stamp = |path: &Path| -> Option<(SystemTime, u64)> {
        let about = std::fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    };
    let stamps = || files.iter().map(|path| stamp(path)).collect::<Vec<_>>();
    let mut known = stamps();
    // Who dropped the other end wants nothing more either.
    while !*over.borrow() && over.has_changed().is_ok() {
        std::thread::sleep(LOOK);
        // Where nothing happens the loop sleeps; policies that change, pins that end and the status are seen to all the same.
        nudge.notify_one();
        let now = stamps();
        if now == known {
            continue;
        }
        known = now;
        let offer = match read() {
            Ok(services) => {
                Offer::Services(services, files.iter().map(|path| source(path)).collect())
            }
            Err(why) => Offer::BadServices(why),
        };
        if offers.blocking_send(offer).is_err() {
            return;
        }
        nudge.notify_one();
    }
}

/// A file as the journal keeps it.
pub fn source(path: &Path) -> Source {
    Source {
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        // It was read a moment ago.
        text: std::fs::read_to_string(path).unwrap_or_default(),
    }
}

/// An error and what stands behind it.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

/// Refuses services that nobody can start here.
fn check(services: &[Service], cut: &Cut) -> Result<(), LiveError> {
    for service in services {
        if service.launch.is_none() {
            return Err(LiveError::NoCommand { service: service.name.clone() });
        }
        let needs = cut.needs(service);
        if !cut.parts.iter().any(|part| part.machine.node.allocatable.fits(&needs)) {
            return Err(LiveError::FitsNowhere {
                service: service.name.clone(),
                gpus: f64::from(needs.gpus) / f64::from(cut.parts_per_gpu),
                memory_gib: needs.memory_bytes as f64 / f64::from(1 << 30),
                cpus: needs.cpu_milli as f64 / 1e3,
            });
        }
    }
    Ok(())
}

/// The nodes with their GPUs, each with those of the machine that it is a part of.
fn places(cut: &Cut, gpus_of: &BTreeMap<String, Vec<Gpu>>) -> Vec<Place> {
    let place = |part: &shares::Part| {
        let node = part.machine.node.clone();
        let declared =
            || gpus::declared(part.first_gpu + part.gpus, &node.gpu_class, part.gpu_memory_bytes);
        let all = gpus_of.get(&part.of).cloned().unwrap_or_else(declared);
        let own = all.into_iter().skip(part.first_gpu as usize).take(part.gpus as usize).collect();
        Place::new(node, own, cut.parts_per_gpu)
    };
    cut.parts.iter().map(place).collect()
}
