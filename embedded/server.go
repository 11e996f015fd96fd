package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// pollEvery is the pace at which a starting server is asked whether it is
// ready; the server offers no event to wait for.
const pollEvery = 5 * time.Millisecond

// errBusy is for poll: the server has work at hand.
var errBusy = errors.New("embedded: the server is at work")

// Server is a NATS server in this process. Its methods may be called from
// several goroutines.
type Server struct {
	srv     *server.Server
	storage *storage
	hasPort bool

	stop    sync.Once
	stopErr error
}

// Start runs a server and returns once it is ready, JetStream included. ctx
// bounds the start only; the server runs until Stop. The errors are *PortError
// for a port that cannot be bound and *DirError for a directory that cannot be
// used; the latter matches ErrDirInUse when another server holds it.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := checkPort(cfg.host(), cfg.Port); err != nil {
		return nil, err
	}
	st, err := openStorage(cfg.Dir)
	if err != nil {
		return nil, err
	}
	o, err := cfg.options(st.dir)
	if err != nil {
		return nil, errors.Join(err, st.close())
	}
	s, err := launch(o, st, cfg.Logger)
	if err != nil {
		return nil, err
	}
	if err := s.waitReady(ctx, cfg); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	for from, to := range cfg.Mappings {
		if err := s.srv.GlobalAccount().AddMapping(from, to); err != nil {
			return nil, errors.Join(fmt.Errorf("embedded: mapping %q -> %q is not valid: %w", from, to, err), s.Stop())
		}
	}
	return s, nil
}

// launch starts the server's goroutines and does not wait for readiness. It
// owns st from here on, also when it fails.
func launch(o *server.Options, st *storage, logger *zap.Logger) (*Server, error) {
	srv, err := server.NewServer(o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded: the server refuses its options: %w", err), st.close())
	}
	log := newServerLog(logger)
	debug := logger != nil && logger.Core().Enabled(zap.DebugLevel)
	srv.SetLoggerV2(log, debug, false, false)
	s := &Server{srv: srv, storage: st, hasPort: !o.DontListen}
	srv.Start()
	if reason := log.reason(); reason != "" {
		var err error = fmt.Errorf("embedded: the server did not start: %s", reason)
		if perr := checkPort(o.Host, o.Port); perr != nil {
			err = perr // another process took the port since it was checked
		}
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// waitReady returns once connections are accepted and JetStream answers one.
func (s *Server) waitReady(ctx context.Context, cfg Config) error {
	err := poll(ctx, func() error {
		if !s.srv.ReadyForConnections(pollEvery) {
			return errors.New("it does not accept connections yet")
		}
		return nil
	})
	if err != nil || cfg.NoJetStream || cfg.ConfigFile != "" {
		return err // with a file, only those can ask JetStream whom it lets in
	}
	nc, err := s.Connect(nats.NoReconnect())
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	return poll(ctx, func() error {
		ask, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := js.AccountInfo(ask); err != nil {
			return fmt.Errorf("JetStream does not answer: %w", err)
		}
		return nil
	})
}

// poll calls ready until it returns nil or ctx ends.
func poll(ctx context.Context, ready func() error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("embedded: the server was not ready in time (%w): %w", err, ctx.Err())
		case <-tick.C:
		}
	}
}

// URL is the address for NATS clients, "nats://127.0.0.1:4222" for example. It
// is empty when the server has no port.
func (s *Server) URL() string {
	if !s.hasPort {
		return ""
	}
	return s.srv.ClientURL()
}

// Name is the server's name.
func (s *Server) Name() string { return s.srv.Name() }

// Connect makes an in-process connection, which works with and without a port.
// The caller closes it. ErrStopped once the server is stopped.
func (s *Server) Connect(opts ...nats.Option) (*nats.Conn, error) {
	if !s.srv.Running() {
		return nil, ErrStopped
	}
	nc, err := nats.Connect("", append([]nats.Option{nats.InProcessServer(s.srv)}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("embedded: connect in process: %w", err)
	}
	return nc, nil
}

// Stop lets JetStream finish what it has been asked, for a second at most, ends
// the server and returns when everything is down, the files are closed and the
// directory is released. Further calls wait for the first one
// and return what it returned.
func (s *Server) Stop() error {
	s.stop.Do(func() {
		s.settle()
		s.srv.Shutdown()
		s.srv.WaitForShutdown()
		s.stopErr = s.storage.close()
	})
	return s.stopErr
}

// settle waits, for a second at most, until JetStream has answered what it was
// asked before the stop. nats-server 2.15.2 forgets a stream that it is still
// creating when it shuts down, with the goroutines and files of its store. A
// request counts only once it has been read from its connection, so there must
// be nothing to do twice in a row.
func (s *Server) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	idle := 0
	_ = poll(ctx, func() error { // who goes on asking loses what was asked, as with any server that stops
		if info, err := s.srv.Jsz(nil); err != nil || info.API.Inflight > 0 {
			idle = 0
		} else {
			idle++
		}
		if idle < 2 {
			return errBusy
		}
		return nil
	})
}
