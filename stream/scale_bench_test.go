package stream_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// BenchmarkMembers measures what a member of a large group takes that holds nothing: messages on its connection, goroutines, and memory with its
// connection and its part of the server, which is in this process.
func BenchmarkMembers(b *testing.B) {
	for _, n := range []int{10, 50, 100} {
		b.Run(fmt.Sprint("members-", n), func(b *testing.B) {
			measureMembers(b, n)
		})
	}
}

func measureMembers(b *testing.B, n int) {
	server := embeddedtest.Start(b)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	goroutines := runtime.NumGoroutine()
	conns := make([]*nats.Conn, n)
	for i := range conns {
		conns[i] = embeddedtest.ConnectTo(b, server)
		client, err := stream.NewClient(conns[i], stream.Config{})
		require.NoError(b, err)
		m, err := client.Join(b.Context(), stream.MembershipConfig{
			Name: "scale", Assigned: func([]stream.Claim) {}, Revoke: func([]string) {}, Lost: func([]string) {}, Failed: func(err error) { b.Error(err) },
		})
		require.NoError(b, err)
		defer m.Leave(b.Context())
	}
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-b.Context().Done():
		}
	}
	wait(3 * time.Second)
	was, from := conns[n/2].Stats(), time.Now()
	wait(10 * time.Second)
	is := conns[n/2].Stats()
	b.ReportMetric(float64(is.InMsgs-was.InMsgs+is.OutMsgs-was.OutMsgs)/time.Since(from).Seconds(), "msgs/s/member")
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/1e3/float64(n), "kB/member")
	b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/float64(n), "goroutines/member")
}
