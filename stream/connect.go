package stream

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natscontext"
	"go.uber.org/zap"
)

const (
	// connectTimeout bounds the attempt at one server.
	connectTimeout = 5 * time.Second
	// A server that has come back is not met by all its clients at once.
	reconnectWait   = 250 * time.Millisecond
	reconnectJitter = 500 * time.Millisecond
	// pingEvery notices a connection that is dead without having been closed within
	// two of them; the library's own default takes minutes.
	pingEvery = 10 * time.Second
)

// ConnectConfig says how to reach a server. Its zero value is the context that
// `nats context select` has selected, and nats://127.0.0.1:4222 where there is
// none.
type ConnectConfig struct {
	// Context names a NATS context, as the nats tool keeps them, or is the absolute
	// path of its file. It brings servers, credentials, TLS and the JetStream domain
	// or prefix. Empty, and no URL: the selected one.
	Context string
	// URL names the servers instead, separated by commas; it may hold a user and a
	// password, or a token. The scheme tls:// asks for TLS.
	URL string
	// Name is what the server shows of the connection. Empty: "rossby".
	Name string
	// Creds is the path of a credentials file: a user's JWT with its key. Empty:
	// none.
	Creds string
	// NKey is the path of a file with an NKey seed. Empty: none.
	NKey string
	// CA is the path of a file with the certificates to trust instead of the
	// system's. Empty: the system's.
	CA string
	// Cert and Key are the paths of a client certificate and its key. Empty: none.
	Cert, Key string
	// Options go behind everything above and can change it, the reconnect handlers
	// among them. nil: none.
	Options []nats.Option
	// Logger is told about disconnects, reconnects and what the server complains of.
	// nil: silent.
	Logger *zap.Logger
}

// Connect makes a connection that comes back for ever, and gives the Config that
// NewClient needs with it: the JetStream domain or prefix is filled in where the
// context has one. The caller closes the connection.
//
// While the connection is away, producers, consumers, readers and journals wait
// and then go on where they were; nobody else sees it. Those who want to watch
// use the connection's own handlers (nats.DisconnectErrHandler,
// nats.ReconnectHandler, in Options) and counters (Conn.Stats).
//
// ctx bounds the first connection only. The error is a *ConnectError; it holds no
// password, token, or anything else of the URL but its host.
func Connect(ctx context.Context, cfg ConnectConfig) (*nats.Conn, Config, error) {
	out := Config{Logger: cfg.Logger}
	if err := ctx.Err(); err != nil {
		return nil, out, cfg.failed(err)
	}
	if cfg.Context != "" && cfg.URL != "" {
		return nil, out, cfg.failed(errors.New("both a context and a URL are given (leave one empty)"))
	}
	opts, err := cfg.options(ctx)
	if err != nil {
		return nil, out, cfg.failed(err)
	}
	if cfg.URL != "" {
		nc, err := nats.Connect(cfg.URL, opts...)
		if err != nil {
			return nil, out, cfg.failed(err)
		}
		return nc, out, nil
	}
	nc, settings, err := natscontext.Connect(cfg.Context, opts...)
	if err != nil {
		return nil, out, cfg.failed(err)
	}
	out.Domain, out.APIPrefix = settings.JSDomain, settings.JSAPIPrefix
	if out.Domain != "" {
		out.APIPrefix = "" // as the nats tool has it
	}
	return nc, out, nil
}

func (cfg ConnectConfig) options(ctx context.Context) ([]nats.Option, error) {
	log := cfg.Logger
	if log == nil {
		log = zap.NewNop()
	}
	name := cfg.Name
	if name == "" {
		name = "rossby"
	}
	patience := connectTimeout
	if end, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(end))
	}
	opts := []nats.Option{
		nats.Name(name),
		nats.Timeout(patience),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		// Credentials that are being replaced are refused for a while.
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(pingEvery),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { log.Warn("the connection to NATS is lost", zap.Error(err)) }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("the connection to NATS is back", zap.String("server", nc.ConnectedUrlRedacted()))
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if sub != nil {
				log.Warn("NATS reports an error", zap.String("subject", sub.Subject), zap.Error(err))
				return
			}
			log.Warn("NATS reports an error", zap.Error(err))
		}),
	}
	if cfg.Creds != "" {
		opts = append(opts, nats.UserCredentials(cfg.Creds))
	}
	if cfg.NKey != "" {
		o, err := nats.NkeyOptionFromSeed(cfg.NKey)
		if err != nil {
			return nil, err
		}
		opts = append(opts, o)
	}
	if cfg.CA != "" {
		opts = append(opts, nats.RootCAs(cfg.CA))
	}
	if cfg.Cert != "" || cfg.Key != "" {
		opts = append(opts, nats.ClientCert(cfg.Cert, cfg.Key))
	}
	return append(opts, cfg.Options...), nil
}

// failed makes the error, without the secrets that URLs hold.
func (cfg ConnectConfig) failed(err error) error {
	var bad *url.Error
	if errors.As(err, &bad) {
		err = errors.New("the server's URL cannot be read") // its error quotes it
	}
	return &ConnectError{Target: cfg.target(), Err: err}
}

// target names what was to be reached, without secrets.
func (cfg ConnectConfig) target() string {
	switch {
	case cfg.URL != "":
		hosts := strings.Split(cfg.URL, ",")
		for i, h := range hosts {
			if at := strings.LastIndexByte(h, '@'); at >= 0 {
				h = h[at+1:]
			} else if _, rest, ok := strings.Cut(h, "://"); ok {
				h = rest
			}
			if u, err := url.Parse("nats://" + strings.TrimSpace(h)); err == nil && u.Host != "" {
				hosts[i] = u.Host
			} else {
				hosts[i] = "(an address that cannot be read)"
			}
		}
		return strings.Join(hosts, ",")
	case cfg.Context != "":
		return "the NATS context " + cfg.Context
	}
	return "the selected NATS context"
}
