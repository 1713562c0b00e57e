package simnet

import "net/http"

// Lies of the directory about one DID.
const (
	Unresolvable  FaultName = "unresolvable"
	StaleDocument FaultName = "stale document"
	NamesOther    FaultName = "names another host"
	ForeignKey    FaultName = "foreign key"
	WrongID       FaultName = "wrong id"
	NoService     FaultName = "no service"
)

func directoryFaults() []Fault {
	of := func(name FaultName, doc string) Fault {
		return Fault{Name: name, Where: OnDirectory, Doc: doc, on: []string{"did"}}
	}
	return []Fault{
		of(Unresolvable, "404 for a DID that is registered."),
		of(StaleDocument, "The document is the one before the last change."),
		of(NamesOther, "The document names a PDS that is not the account's."),
		of(ForeignKey, "The document names a key that is not the account's."),
		of(WrongID, "The document is that of another DID."),
		of(NoService, "The document names no PDS."),
	}
}

// unresolvable gives the refusal that a fault demands. The caller holds the lock.
func unresolvable(did string, all hits) *plcError {
	one := all.of(Unresolvable)
	if one == nil {
		return nil
	}
	one.count()
	return &plcError{http.StatusNotFound, "DID not registered: " + did}
}

// misquote gives the document of an edition as the faults have it. The caller holds
// the lock.
func (n *Network) misquote(e *edition, all hits) *document {
	if one := all.of(StaleDocument); one != nil && e.previous != nil {
		one.count()
		e = e.previous
	}
	d := e.document()
	if one := all.of(NamesOther); one != nil {
		one.count()
		d.Services[0].Endpoint = "http://nowhere.sim.test"
		if other := oneOf(one.dice, n.pdses); other != e.pds {
			d.Services[0].Endpoint = other.url
		}
	}
	if one := all.of(ForeignKey); one != nil {
		if key, err := newKey(n.cfg.Seed, 0, 2_000_000+one.dice.IntN(1000)); err == nil {
			one.count()
			d.Methods[0].Key = key.public.Multibase()
		}
	}
	if one := all.of(WrongID); one != nil {
		one.count()
		d.ID = newDID(n.cfg.Seed, 2_000_000+one.dice.IntN(1000))
	}
	if one := all.of(NoService); one != nil {
		one.count()
		d.Services = d.Services[:0]
	}
	return d
}
