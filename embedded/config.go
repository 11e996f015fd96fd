package embedded

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
)

// RandomPort, as Config.Port, lets the operating system choose a free port;
// Server.URL tells which.
const RandomPort = -1

// loopback is the only interface that is bound unless a Config names another.
const loopback = "127.0.0.1"

// Config says what server to start. Its zero value is the safest server: in
// memory, reachable only through in-process connections.
type Config struct {
	// Dir is where JetStream keeps its files. It is created, with mode 0700,
	// when missing. Empty: a fresh temporary directory that Stop removes, so
	// nothing outlives the server.
	Dir string

	// Port is the TCP port for NATS clients. 0: no port at all, only
	// in-process connections. RandomPort: a free port.
	Port int

	// Host is the interface to bind when there is a port. Empty: 127.0.0.1.
	// Anything else opens an unauthenticated server to that network.
	Host string

	// Name is the server's name as clients see it. Empty: a generated one.
	Name string

	// SyncAlways syncs every write to the disk before it is acknowledged:
	// safe against loss of power, and a hundred times slower. False:
	// JetStream's default, a sync every two minutes.
	SyncAlways bool

	// Mappings are subject mappings that the server applies to what clients
	// publish, from subject to subject. A plain NATS client publishes to
	// "in.web-042" and, with {"in.*": "metrics.{{partition(8,1)}}.{{wildcard(1)}}"},
	// its message lands on the topic partition that Rossby's own producer
	// would have chosen. nil: none.
	Mappings map[string]string

	// ConfigFile is a configuration file of nats-server, for what Config has no
	// field for: TLS, accounts, limits, leaf nodes. Where it is given, it alone says
	// who may connect, in process too; the fields of Config go before it. Empty:
	// none.
	ConfigFile string

	// NoJetStream starts a server for plain messaging only.
	NoJetStream bool

	// Logger receives the server's log. nil: silent.
	Logger *zap.Logger
}

func (c Config) host() string {
	if c.Host == "" {
		return loopback
	}
	return c.Host
}

// validate reports every mistake at once.
func (c Config) validate() error {
	var errs []error
	if c.Port < RandomPort || c.Port > 65535 {
		errs = append(errs, fmt.Errorf("embedded: Config.Port is %d; it must be 0 (no port), RandomPort (-1) or 1 to 65535", c.Port))
	}
	for from, to := range c.Mappings {
		if from == "" || to == "" {
			errs = append(errs, fmt.Errorf("embedded: Config.Mappings has %q -> %q; both subjects must be given", from, to))
		}
	}
	return errors.Join(errs...)
}

func (c Config) options(dir string) (*server.Options, error) {
	o := &server.Options{}
	if c.ConfigFile != "" {
		if err := o.ProcessConfigFile(c.ConfigFile); err != nil {
			return nil, fmt.Errorf("embedded: Config.ConfigFile cannot be used: %w", err)
		}
	}
	if c.Name != "" {
		o.ServerName = c.Name
	}
	o.Host = c.host()
	o.Port = c.Port
	o.DontListen = c.Port == 0
	o.JetStream = !c.NoJetStream
	o.StoreDir = dir
	o.SyncAlways = c.SyncAlways || o.SyncAlways
	o.NoSigs = true // the program that embeds the server owns the process
	if o.DontListen {
		// Zero would become the default port, even where nothing listens.
		o.Port = server.RANDOM_PORT
	}
	return o, nil
}

// checkPort gives a typed error before the server is built, because the server
// itself only logs why it could not listen.
func checkPort(host string, port int) error {
	if port <= 0 {
		return nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return &PortError{Host: host, Port: port, Err: err}
	}
	return l.Close()
}

// storage is the directory of one server, locked.
type storage struct {
	dir       string
	temporary bool
	lock      *os.File
}

// openStorage creates and locks dir, or a temporary directory when dir is empty.
func openStorage(dir string) (*storage, error) {
	s := &storage{dir: dir}
	if dir == "" {
		tmp, err := os.MkdirTemp("", "rossby-embedded-")
		if err != nil {
			return nil, fmt.Errorf("embedded: cannot create a temporary directory (set TMPDIR to a writable one): %w", err)
		}
		s.dir, s.temporary = tmp, true
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &DirError{Dir: dir, Err: err}
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "rossby.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errors.Join(&DirError{Dir: s.dir, Err: err}, s.remove())
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(&DirError{Dir: s.dir, Err: err}, f.Close(), s.remove())
	}
	s.lock = f
	return s, nil
}

// close releases the lock and removes a temporary directory.
func (s *storage) close() error {
	return errors.Join(s.lock.Close(), s.remove())
}

func (s *storage) remove() error {
	if !s.temporary {
		return nil
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("embedded: cannot remove the temporary directory: %w", err)
	}
	return nil
}
