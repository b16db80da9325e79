//! `tidegate profile`: what the built-in profiles are.

use std::fmt::Write as _;

use tidegate_settings::{Key, PROFILES, Revision};

use super::args::Output;
use super::failure::{Exit, Failure};
use super::output::Terminal;
use crate::definitions::profile::Profile;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Profiles {
    /// List the built-in profiles.
    #[command(after_help = "Example:\n  tidegate profile list")]
    List {
        /// What to print.
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Print a profile as a ConfigMap that can be applied, every setting with what it means.
    #[command(
        after_help = "Examples:\n  tidegate profile show gpu > profile.yaml\n  tidegate profile show gpu --resolved"
    )]
    Show {
        /// A built-in profile, or a file.
        #[arg(value_name = "NAME|FILE")]
        name: String,
        /// Print the numbers that it comes to for a service without annotations, as JSON.
        #[arg(long)]
        resolved: bool,
    },
}

pub(super) fn run(args: &Profiles, terminal: &Terminal) -> Result<(), Failure> {
    match args {
        Profiles::List { output: Output::Text } => {
            let mut text = String::new();
            for profile in &PROFILES {
                let _ = writeln!(text, "{:<9} {}", profile.name, profile.about);
            }
            terminal.print(&text)
        }
        Profiles::List { output: Output::Json } => {
            let all: Vec<_> = PROFILES
                .iter()
                .map(|profile| {
                    serde_json::json!({
                        "name": profile.name,
                        "about": profile.about,
                        "settings": profile.config(),
                    })
                })
                .collect();
            let text = serde_json::to_string_pretty(&all).expect("every key is text");
            terminal.print(&(text + "\n"))
        }
        Profiles::Show { name, resolved } => {
            let (profile, warnings) = Profile::find(name).map_err(|error| {
                Failure::new(Exit::Input, format!("cannot use the profile {name}"), &error)
            })?;
            for warning in warnings {
                terminal.remark(&format!("warning: {warning}\n"));
            }
            if !*resolved {
                return terminal.print(&config_map(&profile));
            }
            let revision = Revision::read(&profile.cluster, &std::collections::BTreeMap::new());
            let numbers = revision.ok().and_then(|revision| revision.resolve(0, true));
            let text = serde_json::to_string_pretty(&numbers).expect("every key is text");
            terminal.print(&(text + "\n"))
        }
    }
}

/// As a ConfigMap: first what the profile sets, then, as comments, what it leaves at Knative's default.
fn config_map(profile: &Profile) -> String {
    let about = tidegate_settings::profile(&profile.name).map(|profile| profile.about);
    let about = about.map_or(String::new(), |about| format!(": {about}"));
    let mut text = format!("# Profile {}{about}.\napiVersion: v1\nkind: ConfigMap\n", profile.name);
    text.push_str("metadata:\n  name: config-autoscaler\n  namespace: knative-serving\n");
    let is_set = |key: &Key| profile.settings.contains_key(key.cluster_name());
    let with_key = || Key::ALL.into_iter().filter(|key| key.setting().cluster.is_some());
    let (set, left): (Vec<Key>, Vec<Key>) = with_key().partition(is_set);
    text.push_str(if set.is_empty() { "data: {}\n" } else { "data:\n" });
    for key in set {
        describe(key, &mut text);
        let value = &profile.settings[key.cluster_name()];
        let _ = writeln!(text, "  {}: {value:?}", key.cluster_name());
    }
    text.push_str("\n  # The rest is at Knative's default.\n");
    for key in left {
        describe(key, &mut text);
        let default = key.setting().cluster.map_or("", |cluster| cluster.default);
        let _ = writeln!(text, "  # {}: {default:?}", key.cluster_name());
    }
    text
}

/// What a setting is and may be, as a comment.
fn describe(key: Key, text: &mut String) {
    let setting = key.setting();
    let _ = write!(text, "\n  # {}", key.about());
    if let Some(cluster) = setting.cluster {
        let range = cluster.range.told(setting.kind);
        if !range.is_empty() {
            let mut letters = range.chars();
            let first = letters.next().into_iter().flat_map(char::to_uppercase);
            let _ = write!(text, " {}{}.", first.collect::<String>(), letters.as_str());
        }
    }
    text.push('\n');
}
