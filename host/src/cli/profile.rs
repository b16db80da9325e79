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

/// Every key of the table with its value: what the profile sets, and as comments what it leaves at the default.
fn config_map(profile: &Profile) -> String {
    let about = tidegate_settings::profile(&profile.name).map(|profile| profile.about);
    let mut text = format!("# Profile {}", profile.name);
    if let Some(about) = about {
        let _ = write!(text, ": {about}");
    }
    text.push_str(".\n# What is commented out is Knative's default.\n");
    text.push_str("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config-autoscaler\n  namespace: knative-serving\ndata:\n");
    let mut is_empty = true;
    for key in Key::ALL {
        let Some(cluster) = key.setting().cluster else { continue };
        let _ = writeln!(text, "  # {}", key.about());
        let range = cluster.range.told(key.setting().kind);
        if !range.is_empty() {
            let _ = writeln!(text, "  # {range}; {} by default", cluster.default);
        }
        match profile.settings.get(cluster.name) {
            Some(value) => {
                is_empty = false;
                let _ = writeln!(text, "  {}: {value:?}", cluster.name);
            }
            None => {
                let _ = writeln!(text, "  # {}: {:?}", cluster.name, cluster.default);
            }
        }
    }
    if is_empty {
        text =
            text.replace("\ndata:\n", "\ndata:\n  _example: \"every setting is at its default\"\n");
    }
    text
}
