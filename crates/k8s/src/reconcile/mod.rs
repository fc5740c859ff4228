//! How do the cluster and a service's manifest come to agree?
