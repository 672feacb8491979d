//! libp2p: swarm, gossip, exchange, discovery, limits; moves bytes and knows nothing of offers
