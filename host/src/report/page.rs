use crate::ledger::Outcome;
pub fn page(_: &Outcome) -> String {
    String::new()
}
