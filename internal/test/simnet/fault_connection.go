package simnet

import (
	"encoding/binary"
	"time"

	"github.com/gorilla/websocket"
)

// Faults of the connection of one client: the first that comes to the event.
const (
	CutFrame    FaultName = "cut frame"
	Stall       FaultName = "stall"
	Silence     FaultName = "silence"
	Stutter     FaultName = "stutter"
	TextMessage FaultName = "text message"
	TooSlow     FaultName = "too slow"
)

// stallTime is how long a stalled stream says nothing.
const stallTime = 5 * time.Minute

func connectionFaults() []Fault {
	once := func(name FaultName, befall func(*subscription, []byte) bool, doc string) Fault {
		return Fault{Name: name, Where: OnStream, Doc: doc, send: func(d *delivery) bool { return d.befall(befall) }}
	}
	return []Fault{
		once(CutFrame, cutFrame, "The connection ends in the middle of the frame, once."),
		once(Stall, stall, "The stream says nothing for five minutes but answers pings, and then goes on, once."),
		once(Silence, silence, "The stream says nothing any more and answers no ping, until the client leaves, once."),
		once(Stutter, stutter, "The frame comes twice under one number, once."),
		once(TextMessage, textMessage, "A text message comes before the frame, once."),
		once(TooSlow, tooSlow, "The stream ends with ConsumerTooSlow before the event, once."),
	}
}

// mark is a place in a stream where something befalls the first connection that
// comes there.
type mark struct {
	rule   *rule
	did    string // of the event
	befall func(s *subscription, frame []byte) (goOn bool)
	spent  bool
}

// befall marks the event. The fault is counted when it has befallen somebody.
func (d *delivery) befall(what func(*subscription, []byte) bool) bool {
	if d.sent.message != nil && d.sent.mark == nil {
		d.sent.mark = &mark{rule: d.rule, did: d.account.did, befall: what}
		d.rule.fired++
	}
	return false
}

// take reports whether a mark is to act now.
func (n *Network) take(m *mark) bool {
	if m == nil {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.spent {
		return false
	}
	m.spent = true
	n.acted(m.rule.fault.Name, m.did)
	return true
}

// cutFrame writes a frame's head, for its full length, and half of it
// (RFC 6455, section 5.2).
func cutFrame(s *subscription, frame []byte) bool {
	head := binary.BigEndian.AppendUint64([]byte{0x82, 127}, uint64(len(frame)))
	if len(frame) < 1<<16 {
		head = binary.BigEndian.AppendUint16([]byte{0x82, 126}, uint16(len(frame)))
	}
	_, _ = s.conn.NetConn().Write(append(head, frame[:len(frame)/2]...))
	return false
}

func stall(s *subscription, _ []byte) bool {
	select {
	case <-s.gone:
		return false
	case <-time.After(stallTime):
		return true
	}
}

func silence(s *subscription, _ []byte) bool {
	s.mute.Store(true)
	<-s.gone
	return false
}

func stutter(s *subscription, frame []byte) bool { return s.write(frame) }

func textMessage(s *subscription, _ []byte) bool {
	return s.conn.WriteMessage(websocket.TextMessage, []byte("hello")) == nil
}

func tooSlow(s *subscription, _ []byte) bool {
	s.end("ConsumerTooSlow", "Stream consumer too slow")
	return false
}
