package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/cases"
	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

var errCases = errors.New("the rules do not do what the cases expect")

// testRules plays every case of a file through the whole application on a server in memory, and says of each whether the rules do
// what it expects.
func testRules(ctx context.Context, o options, stdout io.Writer) error {
	data, err := os.ReadFile(o.testRules)
	if err != nil {
		return fmt.Errorf("the cases: %w", err)
	}
	list, err := cases.Parse(data)
	if err != nil {
		return fmt.Errorf("the cases %s: %w", o.testRules, err)
	}
	failed := 0
	for _, c := range list {
		alarms, err := playCase(ctx, o, c)
		if err != nil {
			return fmt.Errorf("case %q: %w", c.Name, err)
		}
		if err := c.Verify(alarms); err != nil {
			failed++
			_, err = fmt.Fprintf(stdout, "FAIL %s\n     %s\n", c.Name, strings.ReplaceAll(err.Error(), "\n", "\n     "))
			if err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(stdout, "ok   %s\n", c.Name); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%w: %d of %d failed", errCases, failed, len(list))
	}
	return nil
}

// playCase returns what the application says of the input of a case.
func playCase(ctx context.Context, o options, c cases.Case) (said []alerting.Alarm, err error) {
	schemas, err := loadSchemas(o.schemas)
	if err != nil {
		return nil, err
	}
	rules, err := schemas.rules(o.rules)
	if err != nil {
		return nil, err
	}
	t := newTopics(schemas, false)
	topology, err := pipeline(t, rules, nil, nil)
	if err != nil {
		return nil, err
	}
	conn, err := connect(ctx, options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.close()) }()
	for _, spec := range t.specs() {
		if err := conn.client.CreateTopic(ctx, spec); err != nil {
			return nil, err
		}
	}
	if err := publishCase(ctx, conn.client, t, c); err != nil {
		return nil, err
	}
	var lines bytes.Buffer
	m := &monitoring{o: o, rules: rules, topics: t, client: conn.client, stderr: io.Discard}
	if m.printer, err = newPrinter(ctx, conn.client, t, &lines, io.Discard); err != nil {
		return nil, err
	}
	defer m.printer.close()
	m.app = processor.NewApp(conn.client, topology, processor.Config{Bounded: true})
	if err := m.process(ctx, context.WithoutCancel(ctx), m.app.Run); err != nil {
		return nil, err
	}
	return alarmsOf(&lines)
}

func publishCase(ctx context.Context, client *stream.Client, t topics, c cases.Case) error {
	in, err := newIntake(client, t)
	if err != nil {
		return err
	}
	for _, input := range c.Inputs() {
		if err = publishInput(ctx, in, input); err != nil {
			break
		}
	}
	return errors.Join(err, in.close(context.WithoutCancel(ctx)))
}

func publishInput(ctx context.Context, in *intake, input cases.Input) error {
	metric, line, err := recordsOf(input)
	switch {
	case err != nil:
		return err
	case line != nil:
		return in.line(ctx, *line, nil)
	}
	return in.metric(ctx, *metric, nil)
}

// recordsOf is the record of an input: one of the two.
func recordsOf(in cases.Input) (*health.Metric, *health.Syslog, error) {
	switch {
	case in.Log != nil:
		return nil, &health.Syslog{Host: in.Key, Time: in.At, Severity: in.Log.Severity, App: in.Log.App, Message: in.Log.Message}, nil
	case in.Value.Stale || len(in.Labels) > 0:
		return nil, nil, fmt.Errorf("metric %s of %s: samples of hosts have no stale markers and no labels", in.Metric, in.Key)
	}
	return &health.Metric{Host: in.Key, Name: in.Metric, Value: in.Value.Number, Time: in.At}, nil, nil
}

// alarmsOf reads what the printer has written.
func alarmsOf(lines io.Reader) ([]alerting.Alarm, error) {
	var list []alerting.Alarm
	dec := json.NewDecoder(lines)
	for dec.More() {
		var l alarmLine
		if err := dec.Decode(&l); err != nil {
			return nil, err
		}
		context, err := json.Marshal(l.Context)
		if err != nil {
			return nil, err
		}
		list = append(list, alerting.Alarm{
			Rule: l.Rule, Key: l.Host, State: alerting.State(l.State), Severity: l.Severity, Value: l.Value, Since: l.Since, At: l.At,
			Labels: l.Labels, Annotations: l.Texts, Context: context,
		})
	}
	return list, nil
}
