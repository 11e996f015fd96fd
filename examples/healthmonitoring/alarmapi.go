package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/api"
	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
	"github.com/rossby-streams/rossby/processor"
)

// alarmAPI is the server of -api.
type alarmAPI struct {
	server   *api.Server
	listener net.Listener
}

// serveAPI opens what -api needs; it is served beside the pipeline.
func (m *monitoring) serveAPI(ctx context.Context, nc *nats.Conn, topology *processor.Topology, told notify.Config, read readRule) (*alarmAPI, error) {
	if err := m.client.CreateTopic(ctx, m.topics.posted.Spec()); err != nil {
		return nil, err
	}
	a := &alarmAPI{}
	var err error
	if a.listener, err = api.Listen(ctx, m.o.api); err != nil {
		return nil, fmt.Errorf("-api %s: %w", m.o.api, err)
	}
	a.server, err = api.New(ctx, api.Config{
		Client: m.client, Conn: nc, Topology: topology, Notify: told, Alerts: m.topics.posted, Alarms: m.topics.alarms,
		Rules: m.explaining(topology, read),
	})
	if err != nil {
		return nil, errors.Join(err, a.listener.Close())
	}
	m.beside = append(m.beside, func(ctx context.Context) error {
		m.say("alarms on http://%s, for amtool; why one fires or not: /api/rossby/v1/explain?format=text&rule=...&key=...", a.listener.Addr())
		return a.server.Serve(ctx, a.listener)
	})
	return a, nil
}

func (a *alarmAPI) close(ctx context.Context) error {
	_ = a.listener.Close() // it may never have been served
	return a.server.Close(ctx)
}

// explaining explains the rules of the file and those that change.
func (m *monitoring) explaining(topology *processor.Topology, read readRule) func(context.Context, string, string) ([]alerting.Explanation, error) {
	return func(ctx context.Context, rule, key string) ([]alerting.Explanation, error) {
		i := slices.IndexFunc(m.rules.Rules, func(r alerting.Rule[health.Incident]) bool { return r.Name == rule })
		switch {
		case i >= 0:
			return m.rules.Rules[i].Explain(ctx, m.client, topology, health.HostKey(key))
		case read != nil:
			return changingRules(read).Explain(ctx, m.client, topology, rule, health.HostKey(key))
		}
		return nil, nil
	}
}
