package stream_test

import (
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/embedded"
	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// The model of a producer is a list per partition: whatever is done to the
// connection and in whichever order, each record is stored and reported once, in
// the order of the calls, also beside another producer of identical records.
func TestProducerModel(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := embeddedtest.StartWith(t, embedded.Config{Port: embedded.RandomPort})
	at, err := url.Parse(s.URL())
	require.NoError(t, err)
	px := startProxy(t, at.Host)
	direct := clientOf(t, embeddedtest.ConnectTo(t, s))
	nc := px.connect(t)
	through := clientOf(t, nc)
	topics, records := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		topics++
		topic := stream.Topic[string]{Name: fmt.Sprint("t", topics), Codec: stream.String()}
		require.NoError(rt, direct.CreateTopic(ctx, topic.Spec()))
		cfg := stream.ProducerConfig{MaxInFlight: rapid.SampledFrom([]int{2, 10, 4096}).Draw(rt, "in flight")}
		p, err := stream.NewProducer(through, topic, cfg)
		require.NoError(rt, err)
		twin, err := stream.NewProducer(direct, topic, stream.ProducerConfig{})
		require.NoError(rt, err)

		var mu sync.Mutex
		var told []int
		sent, twins, deaf := 0, 0, false
		send := func(most int) {
			for range rapid.IntRange(1, most).Draw(rt, "records") {
				n := sent
				require.NoError(rt, p.Send(ctx, stream.ProducerRecord[string]{Key: "k", Value: strconv.Itoa(n), Done: func(d stream.Delivery) {
					if d.Err != nil {
						t.Error(d.Err)
					}
					mu.Lock()
					defer mu.Unlock()
					told = append(told, n)
				}}))
				sent++
			}
		}
		heal := func() {
			before := nc.Stats().Reconnects
			px.cut()
			deaf = false
			// A lost handshake would only try the library's patience.
			require.Eventually(rt, func() bool { return nc.Stats().Reconnects > before }, patience, time.Millisecond)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"send": func(*rapid.T) {
				mu.Lock()
				open := sent - len(told)
				mu.Unlock()
				if !deaf || open+50 < cfg.MaxInFlight { // a full window would wait for ever
					send(50)
				}
			},
			"send much": func(*rapid.T) {
				if !deaf && cfg.MaxInFlight > 10 {
					send(1500)
				}
			},
			"twin": func(*rapid.T) {
				require.NoError(rt, twin.Send(ctx, stream.ProducerRecord[string]{Key: "k", Value: strconv.Itoa(max(sent-1, 0))}))
				twins++
			},
			"cut": func(*rapid.T) { heal() },
			"lose answers": func(*rapid.T) {
				px.loseAnswers()
				deaf = true
			},
			"flush": func(*rapid.T) {
				if deaf {
					heal()
				}
				require.NoError(rt, p.Flush(ctx))
				mu.Lock()
				defer mu.Unlock()
				require.Len(rt, told, sent)
			},
		})
		if deaf {
			heal()
		}
		require.NoError(rt, p.Close(ctx))
		require.NoError(rt, twin.Close(ctx))
		require.Len(rt, told, sent)
		for i, n := range told {
			require.Equal(rt, i, n)
		}
		require.EqualValues(rt, sent+twins, total(t, direct, topic.Spec()))
		records += sent
		require.NoError(rt, direct.DeleteTopic(ctx, topic.Name))
	})
	t.Logf("%d records in %d runs", records, topics)
}
