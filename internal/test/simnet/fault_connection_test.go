package simnet

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

func TestASilentStreamAnswersNoPing(t *testing.T) {
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newScenario(t)
			if silent {
				do(t, s.Switch(Rule{Fault: Silence, Host: "pds1", Times: 1}))
			}
			conn := s.dial(t, s.PDS(0), fmt.Sprintf("cursor=%d", s.from))
			synctest.Wait()
			s.write()
			pongs := make(chan bool, 1)
			conn.SetPongHandler(func(string) error { pongs <- true; return nil })
			go func() {
				for {
					if _, _, err := conn.ReadMessage(); err != nil {
						return
					}
				}
			}()
			synctest.Wait()
			do(t, conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Minute)))
			synctest.Wait()
			if answered := len(pongs) > 0; answered == silent {
				t.Errorf("silent %t, and the ping was answered: %t", silent, answered)
			}
			_ = conn.Close()
		})
	}
}
