//! What became of the load in the end, by what the servers have. Why it did is not known here.

use std::collections::BTreeSet;

use db_cluster::Cluster;
use db_core::{Acquire as _, Query as _};

use super::Result;
use super::load::{Ledger, Reads};
use crate::support::Own;

/// The numbers that a server has.
pub(crate) type Rows = (String, BTreeSet<i64>);

/// The numbers that each server has by now.
pub(crate) async fn rows(cluster: &Cluster<Own>) -> Result<Vec<Rows>> {
    let mut all = Vec::new();
    for stats in cluster.stats() {
        let conn = cluster.pool(&stats.name).ok_or("no such node")?.acquire(None).await?;
        let numbers: Vec<i64> = conn.query("SELECT number FROM numbers", &[]).await?;
        all.push((stats.name, numbers.into_iter().collect()));
    }
    Ok(all)
}

/// Prints the end, and says whether it is a good one.
pub(crate) fn report(reads: &Reads, moved: u64, ledger: &Ledger, rows: &[Rows]) -> Result<()> {
    let Reads { answered, failed } = reads;
    println!();
    println!("reads    {answered} answered, {failed} failed, {moved} went on elsewhere");
    let Ledger { acknowledged, unknown, failed: failed_to } = ledger;
    let is_somewhere = |(_, number): &&(_, i64)| rows.iter().any(|(_, rows)| rows.contains(number));
    let (count, done) = (acknowledged.len(), unknown.iter().filter(is_somewhere).count());
    let (unknown, failed_to) = (unknown.len(), failed_to.len());
    println!(
        "writes   {count} acknowledged, {failed_to} failed, {unknown} unknown ({done} of them happened)"
    );
    println!("         {:.2} s at most between two acknowledged", ledger.longest_pause().as_secs_f64());
    println!("errors   {failed} of reads, {} of writes", unknown + failed_to);
    let mut lost = BTreeSet::new();
    for (name, rows) in rows {
        let numbers = acknowledged.iter().map(|(_, number)| *number);
        let missing: Vec<i64> = numbers.filter(|number| !rows.contains(number)).collect();
        println!("{name}   has {} of {count} acknowledged writes", count - missing.len());
        lost.extend(missing);
    }
    if !lost.is_empty() {
        return Err(format!("acknowledged writes are lost: {lost:?}").into());
    }
    if *failed > 0 {
        return Err(format!("{failed} reads failed").into());
    }
    println!("every acknowledged write is on every server, and no read failed");
    Ok(())
}
