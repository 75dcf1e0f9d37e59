//! The queue in a cluster of three nodes.

use std::collections::BTreeSet;

use postrider::queue::redis::RedisConfig;

use super::{Adapter, Redis, TestClock, exam};
use crate::support::redis::Cluster;

async fn in_cluster() -> Redis {
    Redis::at(Cluster::shared().await.place())
}

exam!(in_cluster().await);
