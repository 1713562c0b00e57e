package simnet

func directoryFaults() []Fault { return nil }
