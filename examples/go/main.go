// A net/http application. Latchkey checks the access token of each request to a protected route.
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	client := NewClient()
	verifyURL := cmp.Or(os.Getenv("AUTH_URL"), "http://127.0.0.1:8000") + "/auth/verify"
	requireUser := Require(client, verifyURL)
	requireItems := Require(client, verifyURL+"?scope=items:read")
	requireAdmin := Require(client, verifyURL+"?role=admin")

	mux := http.NewServeMux()
	mux.Handle("GET /me", requireUser(http.HandlerFunc(me)))
	mux.Handle("GET /items", requireItems(http.HandlerFunc(items)))
	mux.Handle("GET /admin", requireAdmin(http.HandlerFunc(me)))

	listener, err := net.Listen("tcp", cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:9000"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.Serve(listener))
}

func me(w http.ResponseWriter, r *http.Request) {
	respond(w, IdentityOf(r))
}

func items(w http.ResponseWriter, _ *http.Request) {
	respond(w, []string{"Book", "Lamp"})
}

func respond(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	// An error means that the client disconnected.
	_ = json.NewEncoder(w).Encode(body)
}
