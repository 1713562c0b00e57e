package simnet

import "net/http"

// Lies of the directory about one DID.
const (
	Unresolvable  FaultName = "unresolvable"
	StaleDocument FaultName = "stale document"
	NamesOther    FaultName = "names another host"
	NamesPrivate  FaultName = "names a private address"
	ForeignKey    FaultName = "foreign key"
	BrokenKey     FaultName = "broken key"
	WrongID       FaultName = "wrong id"
	NoService     FaultName = "no service"
)

// Lies of the directory's log.
const (
	ExportLags      FaultName = "export lags"
	ExportRepeats   FaultName = "export repeats"
	ExportShuffles  FaultName = "export shuffles"
	ExportNullified FaultName = "export nullified"
	ExportRenumbers FaultName = "export renumbers"
	ExportByTime    FaultName = "export by time"
)

func directoryFaults() []Fault {
	of := func(name FaultName, doc string) Fault {
		return Fault{Name: name, Where: OnDirectory, Doc: doc, on: []string{"did"}}
	}
	log := func(name FaultName, doc string) Fault {
		return Fault{Name: name, Where: OnDirectory, Doc: doc, on: []string{"export"}}
	}
	return []Fault{
		of(Unresolvable, "404 for a DID that is registered."),
		of(StaleDocument, "The document is the one before the last change."),
		of(NamesOther, "The document names a PDS that is not the account's."),
		of(NamesPrivate, "The document names a PDS at an address that is not public."),
		of(ForeignKey, "The document names a key that is not the account's."),
		of(BrokenKey, "The document's key is none."),
		of(WrongID, "The document is that of another DID."),
		of(NoService, "The document names no PDS."),
		log(ExportLags, "The log leaves out the operations of the last ten minutes."),
		log(ExportRepeats, "The log returns operations twice, and older ones than were asked for."),
		log(ExportShuffles, "The log returns the operations of a page in another order."),
		log(ExportNullified, "The log has an operation of another key in whose place a later one was made."),
		log(ExportRenumbers, "The log is numbered otherwise from now on."),
		log(ExportByTime, "The log takes a sequence number for a year, as older servers do, and answers by time."),
	}
}

// unresolvable returns the refusal that a fault demands. The caller holds the lock.
func unresolvable(did string, all matches) *plcError {
	one := all.of(Unresolvable)
	if one == nil {
		return nil
	}
	one.count()
	return &plcError{http.StatusNotFound, "DID not registered: " + did}
}

// misquote returns the document of a plcOp as the faults have it. The caller holds
// the lock.
func (n *Network) misquote(e *plcOp, all matches) *document {
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
	if one := all.of(NamesPrivate); one != nil {
		one.count()
		d.Services[0].Endpoint = "http://" + oneOf(one.dice, []string{"10.0.0.1", "127.0.0.1", "169.254.169.254", "[::1]", "100.64.0.1"})
	}
	if one := all.of(BrokenKey); one != nil {
		one.count()
		d.Methods[0].Key = oneOf(one.dice, []string{"", "z", "zQ3shNonsense", d.Methods[0].Key[:20]})
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
