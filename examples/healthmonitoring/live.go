package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
	"github.com/rossby-streams/rossby/examples/healthmonitoring/hostmetrics"
	"github.com/rossby-streams/rossby/examples/healthmonitoring/syslogd"
)

// takeIn samples, receives and follows until ctx ends or one of them fails. What it leaves behind has been handed to the
// producers.
func (m *monitoring) takeIn(ctx context.Context) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("the name of this machine: %w", err)
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	check := func(err error) {
		if err != nil && ctx.Err() == nil {
			fail(err)
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	receive := syslogd.Config{
		Host:    host,
		Deliver: func(l health.Syslog) { check(m.intake.liveLine(ctx, l)) },
		Reject: func(r syslogd.Rejected) {
			check(m.intake.refuse(ctx, sourceSyslogs, r.Raw, fmt.Errorf("from %s %s: %w", r.Source, r.Remote, r.Err), nil))
		},
	}
	if m.o.syslog != "" {
		listen := receive
		listen.UDP, listen.TCP = m.o.syslog, m.o.syslog
		server, err := syslogd.Listen(ctx, listen)
		if err != nil {
			return err
		}
		defer server.Close()
		m.say("syslog on %s (UDP) and %s (TCP)", server.UDPAddr(), server.TCPAddr())
	}
	for _, path := range m.o.follow {
		wg.Go(func() { check(syslogd.Follow(ctx, path, receive)) })
		m.say("following %s", path)
	}
	if m.o.interval > 0 {
		sampler, err := hostmetrics.New()
		if err != nil {
			return err
		}
		wg.Go(func() { check(m.sample(ctx, sampler)) })
		m.say("sampling %s every %v", host, m.o.interval)
	}
	m.say("rules: %s; interrupt to stop", m.ruleNames())
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// sample publishes samples of this machine until ctx ends. What cannot be sampled is said once.
func (m *monitoring) sample(ctx context.Context, sampler *hostmetrics.Sampler) error {
	tick := time.NewTicker(m.o.interval)
	defer tick.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			samples, err := sampler.Sample(ctx, now)
			if err != nil && ctx.Err() == nil && err.Error() != told {
				told = err.Error()
				m.say("some samples are missing: %s", oneLine(err))
			}
			for _, s := range samples {
				if err := m.intake.liveMetric(ctx, s); err != nil {
					return err
				}
			}
		}
	}
}
