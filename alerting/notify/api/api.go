package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// Config says what is served.
type Config struct {
	// Client and Conn reach the server, Topology is that of the app and Notify the configuration of its Notify. Required.
	Client   *stream.Client
	Conn     *nats.Conn
	Topology *processor.Topology
	Notify   notify.Config
	// Bucket is where the app's silences are, that of silencebucket. It is made if there is none. Empty: silencebucket.DefaultBucket.
	Bucket string
	// Alerts is where alerts that are posted go: a topic made with notify.Alerts, which the app gives to notify.NotifyAll. It must exist. The zero
	// Topic: none are taken.
	Alerts stream.Topic[notify.Alert]
	// Rules explains the alarms of a rule for a key, as alerting.Rule.Explain and Live.Explain do; none for a rule that it does not know. Nil: there
	// are no explanations of rules.
	Rules func(ctx context.Context, rule, key string) ([]alerting.Explanation, error)
	// Alarms is the topic that the app's alarms are in: explanations name the latest changes. The zero Topic: they do not.
	Alarms stream.Topic[alerting.Alarm]
	// Original is the configuration that the status shows. Empty: Notify, in the form of Alertmanager's file.
	Original string

	// MaxAge is how old answers about the app may be. Zero: one second.
	MaxAge time.Duration
	// ResolveTimeout is when an alert without an end is over unless it is posted again. Zero: five minutes.
	ResolveTimeout time.Duration
	// Retention is how long silences are kept that are over. Zero: 120 hours.
	Retention time.Duration

	// Access says who is let in. The zero Access: everybody who reaches the address.
	Access Access
	// TLS are the files of a certificate and its key, PEM. They are read again for each connection. The zero TLSFiles: there is no TLS.
	TLS TLSFiles
	// Logger is told of requests that fail for reasons of ours. Nil: nobody.
	Logger *zap.Logger
}

// Defaults of Config, Alertmanager's but for MaxAge.
const (
	DefaultResolveTimeout = 5 * time.Minute
	DefaultRetention      = 120 * time.Hour
)

// Server is a http.Handler. Close it when it serves no more.
type Server struct {
	cfg      Config
	inquiry  *notify.Inquiry
	silences *silences
	alerts   *stream.Producer[notify.Alert] // nil: none are taken
	mux      *http.ServeMux
	began    time.Time
	busy     chan struct{}
}

// maxBusy is how many requests are served at a time; more are told to come back.
const maxBusy = 64

// New makes a Server. ctx bounds that, not what follows.
func New(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Client == nil || cfg.Conn == nil || cfg.Topology == nil {
		return nil, errors.New("api: Client, Conn and Topology are required")
	}
	if err := errors.Join(cfg.Access.check(), cfg.TLS.check()); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	cfg.ResolveTimeout = cmp.Or(cfg.ResolveTimeout, DefaultResolveTimeout)
	cfg.Retention = cmp.Or(cfg.Retention, DefaultRetention)
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	s := &Server{cfg: cfg, mux: http.NewServeMux(), began: time.Now(), busy: make(chan struct{}, maxBusy)}
	var err error
	if cfg.Original == "" {
		if s.cfg.Original, err = original(&cfg.Notify); err != nil {
			return nil, fmt.Errorf("api: %w", err)
		}
	}
	if s.inquiry, err = notify.NewInquiry(cfg.Client, cfg.Topology, notify.InquiryConfig{Notify: cfg.Notify, MaxAge: cfg.MaxAge, Now: time.Now}); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	if s.silences, err = openSilences(ctx, cfg); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	if cfg.Alerts.Name != "" {
		if s.alerts, err = stream.NewProducer(cfg.Client, cfg.Alerts, stream.ProducerConfig{}); err != nil {
			return nil, fmt.Errorf("api: %w", err)
		}
	}
	s.routes()
	return s, nil
}

// Close waits until posted alerts are stored. The Server must serve no more.
func (s *Server) Close(ctx context.Context) error {
	if s.alerts == nil {
		return nil
	}
	return s.alerts.Close(ctx)
}

func (s *Server) routes() {
	for pattern, h := range map[string]handler{
		"GET /api/v2/alerts":                          s.listAlerts,
		"POST /api/v2/alerts":                         s.postAlerts,
		"GET /api/v2/alerts/groups":                   s.listGroups,
		"GET /api/v2/silences":                        s.listSilences,
		"POST /api/v2/silences":                       s.postSilence,
		"GET /api/v2/silence/{id}":                    s.getSilence,
		"DELETE /api/v2/silence/{id}":                 s.deleteSilence,
		"GET /api/v2/status":                          s.status,
		"GET /api/v2/receivers":                       s.receivers,
		"GET /api/rossby/v1/acknowledgements":         s.listAcknowledgements,
		"POST /api/rossby/v1/acknowledgements":        s.postAcknowledgement,
		"GET /api/rossby/v1/acknowledgements/{id}":    s.getAcknowledgement,
		"DELETE /api/rossby/v1/acknowledgements/{id}": s.deleteAcknowledgement,
		"GET /api/rossby/v1/explain":                  s.explain,
		"GET /-/healthy":                              func(*http.Request) (any, error) { return text("OK"), nil },
		"GET /-/ready":                                s.ready,
	} {
		s.mux.Handle(pattern, s.answering(h))
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	default:
		w.Header().Set("Retry-After", "1")
		reply(w, http.StatusServiceUnavailable, "too many requests at a time: come back")
		return
	}
	if !s.cfg.Access.admits(w, r) {
		return
	}
	s.mux.ServeHTTP(w, r)
}

// handler answers a request with a value that becomes JSON, a text, or nil for nothing to say.
type handler func(*http.Request) (any, error)

// text is an answer that is no JSON.
type text string

// dated is an answer that says of when it is.
type dated struct {
	of    notify.Freshness
	value any
}

// failure is an error with what HTTP calls it.
type failure struct {
	code int
	err  error
}

// Error implements error.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap returns what has failed.
func (f *failure) Unwrap() error { return f.err }

func fail(code int, format string, args ...any) error {
	return &failure{code, fmt.Errorf(format, args...)}
}

// requestTimeout bounds how long the app is asked.
const requestTimeout = 10 * time.Second

func (s *Server) answering(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		value, err := h(r.WithContext(ctx))
		if d, ok := value.(dated); ok {
			w.Header().Set("Rossby-As-Of", d.of.At.UTC().Format(time.RFC3339Nano))
			w.Header().Set("Rossby-Generation", fmt.Sprint(d.of.Generation))
			value = d.value
		}
		if err == nil {
			reply(w, http.StatusOK, value)
			return
		}
		var f *failure
		code := http.StatusInternalServerError
		switch {
		case errors.As(err, &f):
			code = f.code
		case errors.Is(err, processor.ErrUnanswered), errors.Is(err, context.DeadlineExceeded):
			code = http.StatusServiceUnavailable
		}
		if code >= http.StatusInternalServerError {
			s.cfg.Logger.Warn("a request failed", zap.String("method", r.Method), zap.String("path", r.URL.Path), zap.Int("code", code), zap.Error(err))
		}
		reply(w, code, err.Error())
	})
}

// reply writes an answer; errors are JSON texts, as Alertmanager has them.
func reply(w http.ResponseWriter, code int, value any) {
	switch v := value.(type) {
	case nil:
		w.WriteHeader(code)
		return
	case text:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(v)) // who has gone does not hear it
		return
	}
	data, err := json.Marshal(value, json.Deterministic(true))
	if err != nil {
		code, data = http.StatusInternalServerError, []byte(`"the answer cannot be encoded"`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(data)
}

func (s *Server) ready(r *http.Request) (any, error) {
	err := s.inquiry.Look(r.Context(), func(*notify.Dispatcher, notify.Freshness) error { return nil })
	return text("OK"), err
}
