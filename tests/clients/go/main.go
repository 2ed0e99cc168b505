// A client from openapi-generator: an account's whole life. The address of a gateway is its argument; each step that was
// completed is told on standard output. How the client is made: README.md, "Generate a client".
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"

	"golang.org/x/oauth2"

	"latchkey"
)

var names = []string{"Book", "Lamp", "Chair", "Table", "Clock"}

// A client, and the context that its access token travels in.
type signedIn struct {
	*latchkey.APIClient
	ctx context.Context
}

func main() {
	log.SetFlags(0)
	configuration := latchkey.NewConfiguration()
	configuration.Servers = latchkey.ServerConfigurations{{URL: os.Args[1]}}
	anybody := latchkey.NewAPIClient(configuration)
	ctx := context.Background()
	username, password := "john-"+rand.Text(), rand.Text()

	body := latchkey.NewSignUpBody(password)
	body.SetUsername(username)
	signedUp, _, err := anybody.SigningInAPI.SignUp(ctx).SignUpBody(*body).Execute()
	good(err)
	assert(signedUp.User.GetUsername() == username && signedUp.User.Role == latchkey.USER, "an account of that name")
	fmt.Println("sign up")

	signIn := func(password string) (*latchkey.TokenPair, error) {
		body := latchkey.NewLoginBody(password)
		body.SetUsername(username)
		pair, _, err := anybody.SigningInAPI.LogIn(ctx).LoginBody(*body).Execute()
		return pair, err
	}
	pair, err := signIn(password)
	good(err)
	client := withToken(anybody, pair)
	_, err = signIn("wrong")
	refused(err, latchkey.INVALID_CREDENTIALS)
	fmt.Println("sign in")

	items := client.pages()
	assert(slices.EqualFunc(items, names, func(item latchkey.Item, name string) bool { return item.Name == name }),
		"all items, the oldest first")
	fmt.Println("pages")

	client.lostUpdate(items[0].Id)
	fmt.Println("lost update")

	// Once: whoever comes with it again later has stolen it.
	pair, _, err = anybody.SigningInAPI.Refresh(ctx).RefreshBody(*latchkey.NewRefreshBody(pair.RefreshToken)).Execute()
	good(err)
	client = withToken(anybody, pair)
	user, err := client.user()
	good(err)
	assert(user.GetUsername() == username, "the new access token")
	fmt.Println("refresh")

	pair, err = signIn(password)
	good(err)
	phone := withToken(anybody, pair)
	client.endOthers()
	_, err = phone.user()
	refused(err, latchkey.TOKEN_REVOKED)
	fmt.Println("devices")

	_, err = client.SigningInAPI.LogOut(client.ctx).Execute()
	good(err)
	_, err = client.user()
	refused(err, latchkey.TOKEN_REVOKED)
	fmt.Println("sign out")
}

func withToken(client *latchkey.APIClient, pair *latchkey.TokenPair) signedIn {
	source := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: pair.AccessToken})
	return signedIn{client, context.WithValue(context.Background(), latchkey.ContextOAuth2, source)}
}

func (client signedIn) user() (*latchkey.User, error) {
	user, _, err := client.AccountAPI.GetUser(client.ctx).Execute()
	return user, err
}

// Makes some items, and reads all of them in pages of two.
func (client signedIn) pages() []latchkey.Item {
	for _, name := range names {
		_, _, err := client.ItemsAPI.CreateItem(client.ctx).ItemBody(*latchkey.NewItemBody(name)).Execute()
		good(err)
	}
	var items []latchkey.Item
	request := client.ItemsAPI.ListItems(client.ctx).Limit(2)
	for {
		page, _, err := request.Execute()
		good(err)
		items = append(items, page.Items...)
		after := page.Next.Get()
		if after == nil {
			return items
		}
		request = request.After(*after)
	}
}

// Two people change what both have read: the second one is told.
func (client signedIn) lostUpdate(id string) {
	change := func(name, etag string) error {
		body := latchkey.ItemPatchBody{Name: &name}
		_, _, err := client.ItemsAPI.UpdateItem(client.ctx, id).IfMatch(etag).ItemPatchBody(body).Execute()
		return err
	}
	_, answer, err := client.ItemsAPI.GetItem(client.ctx, id).Execute()
	good(err)
	etag := answer.Header.Get("ETag")
	good(change("A better book", etag))
	refused(change("Lost", etag), latchkey.PRECONDITION_FAILED)
	item, _, err := client.ItemsAPI.GetItem(client.ctx, id).Execute()
	good(err)
	assert(item.Name == "A better book", "the first change")
}

func (client signedIn) endOthers() {
	devices, _, err := client.AccountAPI.ListSessions(client.ctx).Execute()
	good(err)
	assert(len(devices.Items) == 3, "of the sign-up, and two of the sign-in")
	for _, device := range devices.Items {
		if !device.Current {
			_, err := client.AccountAPI.EndSession(client.ctx, device.Id).Execute()
			good(err)
		}
	}
}

// Each refusal is a problem with a code of a closed list.
func refused(err error, code latchkey.ProblemCode) {
	var refusal *latchkey.GenericOpenAPIError
	assert(errors.As(err, &refusal), fmt.Sprintf("%s was expected, not %v", code, err))
	problem, _ := refusal.Model().(latchkey.Problem)
	assert(problem.Code == code, fmt.Sprintf("%s was expected, not %s", code, problem.Code))
}

func good(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func assert(holds bool, what string) {
	if !holds {
		log.Fatal(what)
	}
}
