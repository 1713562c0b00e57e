package simnet

// Lies about the cursor of one who asks for a firehose.
const (
	FalseFuture FaultName = "false future"
	FalseGap    FaultName = "false gap"
)

func subscriptionFaults() []Fault {
	on := []string{"subscribeRepos"}
	return []Fault{
		{Name: FalseFuture, Where: OnHTTP, on: on, Doc: "The firehose ends with FutureCursor, although it knows the cursor."},
		{Name: FalseGap, Where: OnHTTP, on: on, Doc: "The firehose says OutdatedCursor, although it has every event behind the cursor."},
	}
}

// misjudge returns what is said wrongly of a cursor. The caller holds the lock.
func (all matches) misjudge(cursor string) (future, gap bool) {
	if cursor == "" {
		return false, false
	}
	if one := all.of(FalseFuture); one != nil {
		one.count()
		return true, false
	}
	if one := all.of(FalseGap); one != nil {
		one.count()
		return false, true
	}
	return false, false
}
