"""The flow of each verb, once, for every family: prepare, train, load, evaluate, write."""
