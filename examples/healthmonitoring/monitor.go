package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/rossby-streams/rossby/alerting/notify/silencebucket"
	"github.com/rossby-streams/rossby/alerting/rulebucket"
	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// monitor runs the whole application until ctx ends or, with -exit, the replay has been processed.
func monitor(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	schemas, err := loadSchemas(o.schemas)
	if err != nil {
		return err
	}
	rules, err := schemas.rules(o.rules)
	if err != nil {
		return err
	}
	if o.rulesBucket != "" {
		rules.Within = max(rules.Within, time.Minute) // what a rule asks for that does not say
	}
	told, err := loadNotices(o)
	if err != nil {
		return err
	}
	t := newTopics(schemas, !o.replays())
	c, err := connect(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if told != nil {
		if err := told.connect(ctx, c.nc, stderr); err != nil {
			return err
		}
	}
	read := schemas.reader(o.rulesBucket, rules)
	topology, err := pipeline(t, rules, read, told)
	if err != nil {
		return err
	}
	// The way out is walked with a context of its own: being asked to stop must not cut it short.
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	for _, spec := range t.specs() {
		if err := c.client.CreateTopic(ctx, spec); err != nil {
			return err
		}
	}
	m := &monitoring{o: o, rules: rules, topics: t, client: c.client, stderr: stderr}
	if o.rulesBucket != "" {
		feed, err := rulebucket.Open(ctx, c.nc, c.client, rulebucket.Config[health.Incident]{Bucket: o.rulesBucket, Topic: t.changes, Read: read})
		if err != nil {
			return err
		}
		m.beside = append(m.beside, feed.Run)
	}
	if told != nil {
		feed, err := silencebucket.Open(ctx, c.nc, c.client, silencebucket.Config{Topic: t.silences})
		if err != nil {
			return err
		}
		m.beside = append(m.beside, feed.Run)
	}
	if o.api != "" {
		var server *alarmAPI
		if server, err = m.serveAPI(ctx, c.nc, topology, told.cfg, read); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.close(out)) }()
	}
	if m.intake, err = newIntake(c.client, t); err != nil {
		return err
	}
	if m.printer, err = newPrinter(ctx, c.client, t, stdout, stderr); err != nil {
		return err
	}
	defer func() {
		m.printer.close()
		err = errors.Join(err, m.intake.close(out))
	}()
	m.app = processor.NewApp(c.client, topology, processor.Config{Bounded: o.exit, Queries: o.api != ""})
	if o.metrics != "" {
		scrapes, err := listenForScrapes(o.metrics)
		if err != nil {
			return err
		}
		defer func() { _ = scrapes.Close() }()
		m.beside = append(m.beside, func(ctx context.Context) error { return m.serveMetrics(ctx, scrapes) })
	}
	if o.replays() {
		err = m.replay(ctx, out)
	} else {
		err = m.live(ctx, out)
	}
	if err != nil {
		return err
	}
	return m.summarise(out)
}

// monitoring is the running application.
type monitoring struct {
	o       options
	rules   *health.Rules
	topics  topics
	client  *stream.Client
	intake  *intake
	printer *printer
	app     *processor.App
	stderr  io.Writer
	// beside is what runs as long as alarms are printed: what watches buckets, servers.
	beside []func(context.Context) error
	read   counts
}

// replay publishes the recorded input first and processes it then: so every record is there when its time comes, and the
// result is the same on every run.
func (m *monitoring) replay(ctx, out context.Context) error {
	l := &loader{client: m.client, in: m.intake, topics: m.topics}
	if err := m.loadFiles(ctx, l); err != nil {
		return err
	}
	if err := m.intake.flush(ctx); err != nil {
		return err
	}
	if !m.o.exit {
		m.say("replayed %d metrics and %d log lines; interrupt to stop", m.read.metrics, m.read.syslogs)
	}
	return m.process(ctx, out, m.app.Run)
}

func (m *monitoring) loadFiles(ctx context.Context, l *loader) error {
	if path := m.o.replayMetrics; path != "" {
		rows, closeFile, err := l.metricRows(path)
		if err != nil {
			return err
		}
		m.read.metrics, err = l.load(ctx, sourceMetrics, path, m.topics.metrics.Spec(), rows)
		if err = errors.Join(err, closeFile()); err != nil {
			return err
		}
	}
	if path := m.o.replaySyslog; path != "" {
		rows, closeFile, err := l.syslogRows(path, m.o.year)
		if err != nil {
			return err
		}
		m.read.syslogs, err = l.load(ctx, sourceSyslogs, path, m.topics.syslogs.Spec(), rows)
		if err = errors.Join(err, closeFile()); err != nil {
			return err
		}
	}
	return nil
}

// live takes in what happens on this machine until ctx ends, and what is in the topics then is still processed.
func (m *monitoring) live(ctx, out context.Context) error {
	return m.process(ctx, out, func(ctx context.Context) error {
		ctx, fail := context.WithCancelCause(ctx)
		defer fail(nil)
		processing, stop := context.WithCancel(context.WithoutCancel(ctx))
		defer stop()
		appErr := make(chan error, 1)
		go func() {
			err := m.app.Run(processing)
			fail(err)
			appErr <- err
		}()
		err := m.takeIn(ctx)
		if err == nil {
			err = m.intake.flush(out)
		}
		if err == nil && len(appErr) == 0 {
			err = m.awaitProcessed(out)
		}
		stop()
		return errors.Join(err, <-appErr)
	})
}

// process runs work while alarms are printed, and prints the rest after it.
func (m *monitoring) process(ctx, out context.Context, work func(context.Context) error) error {
	printing, stop := context.WithCancel(out)
	defer stop()
	working, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	var printErr error
	wg.Go(func() {
		if printErr = m.printer.run(printing); printErr != nil {
			fail(printErr)
		}
	})
	errs := make([]error, len(m.beside))
	for i, run := range m.beside {
		wg.Go(func() {
			if errs[i] = run(printing); errs[i] != nil {
				fail(errs[i])
			}
		})
	}
	err := work(working)
	stop()
	wg.Wait()
	if err = errors.Join(err, printErr, errors.Join(errs...)); err != nil {
		return err
	}
	return m.printer.rest(out)
}

// processedTimeout bounds how long a stop waits for what has been taken in.
const processedTimeout = 5 * time.Second

// awaitProcessed returns when the pipeline has processed and committed everything in its inputs, or has not in time.
func (m *monitoring) awaitProcessed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, processedTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		lag, err := m.lag(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil && lag == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			m.say("stopping with records unprocessed; with -data or -nats the next start goes on with them")
			return nil
		case <-tick.C:
		}
	}
}

func (m *monitoring) lag(ctx context.Context) (uint64, error) {
	lag := uint64(0)
	for _, spec := range []stream.TopicSpec{m.topics.metrics.Spec(), m.topics.syslogs.Spec()} {
		committed, err := m.client.Committed(ctx, spec, app)
		if err != nil {
			return 0, err
		}
		for _, c := range committed {
			lag += c.Lag
		}
	}
	return lag, nil
}

func (m *monitoring) say(format string, args ...any) {
	fmt.Fprintf(m.stderr, "healthmonitoring: "+format+"\n", args...)
}

func (m *monitoring) ruleNames() string {
	names := make([]string, len(m.rules.Rules))
	for i, r := range m.rules.Rules {
		names[i] = r.Name
	}
	return strings.Join(names, ", ")
}
