// A client from openapi-generator: an account's whole life. The address of a gateway is its argument; each step that was
// completed is told on standard output. How the client is made: README.md, "Generate a client".

import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import latchkey.ApiClient;
import latchkey.ApiException;
import latchkey.api.AccountApi;
import latchkey.api.ItemsApi;
import latchkey.api.SigningInApi;
import latchkey.model.Item;
import latchkey.model.ItemBody;
import latchkey.model.ItemPage;
import latchkey.model.ItemPatchBody;
import latchkey.model.LoginBody;
import latchkey.model.Problem;
import latchkey.model.ProblemCode;
import latchkey.model.RefreshBody;
import latchkey.model.Role;
import latchkey.model.Session;
import latchkey.model.SignUpBody;
import latchkey.model.TokenPair;
import latchkey.model.User;

final class Example {
    private static final List<String> NAMES = List.of("Book", "Lamp", "Chair", "Table", "Clock");

    private final String address;
    private final SigningInApi anybody;
    private final String username = "john-" + UUID.randomUUID();
    private final String password = UUID.randomUUID().toString();

    private Example(String address) {
        this.address = address;
        this.anybody = new SigningInApi(client());
    }

    public static void main(String[] arguments) throws Exception {
        new Example(arguments[0]).live();
    }

    private void live() throws Exception {
        User user = anybody.signUp(new SignUpBody().username(username).password(password), null).getUser();
        check(username.equals(user.getUsername()) && user.getRole() == Role.USER, "an account of that name");
        System.out.println("sign up");

        TokenPair pair = signIn(password);
        ApiClient client = signedIn(pair);
        refused(ProblemCode.INVALID_CREDENTIALS, () -> signIn("wrong"));
        System.out.println("sign in");

        List<Item> items = pages(new ItemsApi(client));
        check(items.stream().map(Item::getName).toList().equals(NAMES), "all items, the oldest first");
        System.out.println("pages");

        lostUpdate(new ItemsApi(client), items.get(0).getId());
        System.out.println("lost update");

        // Once: whoever comes with it again later has stolen it.
        ApiClient renewed = signedIn(anybody.refresh(new RefreshBody().refreshToken(pair.getRefreshToken())));
        check(username.equals(new AccountApi(renewed).getUser().getUsername()), "the new access token");
        System.out.println("refresh");

        AccountApi phone = new AccountApi(signedIn(signIn(password)));
        endOthers(new AccountApi(renewed));
        refused(ProblemCode.TOKEN_REVOKED, phone::getUser);
        System.out.println("devices");

        new SigningInApi(renewed).logOut(null, null, null, null);
        refused(ProblemCode.TOKEN_REVOKED, () -> new AccountApi(renewed).getUser());
        System.out.println("sign out");
    }

    private ApiClient client() {
        ApiClient client = new ApiClient();
        client.updateBaseUri(address);
        return client;
    }

    /** A client that sends the access token of this pair. */
    private ApiClient signedIn(TokenPair pair) {
        return client().setRequestInterceptor(
                request -> request.header("Authorization", "Bearer " + pair.getAccessToken()));
    }

    private TokenPair signIn(String password) throws ApiException {
        return anybody.logIn(new LoginBody().username(username).password(password));
    }

    /** Makes some items, and reads all of them in pages of two. */
    private static List<Item> pages(ItemsApi api) throws ApiException {
        for (String name : NAMES) {
            api.createItem(new ItemBody().name(name), null);
        }
        List<Item> items = new ArrayList<>();
        String after = null;
        do {
            ItemPage page = api.listItems(2, after);
            items.addAll(page.getItems());
            after = page.getNext();
        } while (after != null);
        return items;
    }

    /** Two people change what both have read: the second one is told. */
    private static void lostUpdate(ItemsApi api, UUID id) throws Exception {
        String etag = api.getItemWithHttpInfo(id).getHeaders().get("etag").get(0);
        api.updateItem(id, new ItemPatchBody().name("A better book"), etag, null);
        refused(ProblemCode.PRECONDITION_FAILED, () -> api.updateItem(id, new ItemPatchBody().name("Lost"), etag, null));
        check(api.getItem(id).getName().equals("A better book"), "the first change");
    }

    private static void endOthers(AccountApi api) throws ApiException {
        List<Session> devices = api.listSessions(null, null).getItems();
        check(devices.size() == 3, "of the sign-up, and two of the sign-in");
        for (Session device : devices) {
            if (!device.getCurrent()) {
                api.endSession(device.getId(), null, null);
            }
        }
    }

    private interface Request {
        Object send() throws ApiException;
    }

    /** Each refusal is a problem with a code of a closed list. */
    private static void refused(ProblemCode code, Request request) throws Exception {
        try {
            throw new AssertionError(code + " was expected, not " + request.send());
        } catch (ApiException refusal) {
            Problem problem = ApiClient.createDefaultObjectMapper().readValue(refusal.getResponseBody(), Problem.class);
            check(problem.getCode() == code, code + " was expected, not " + problem.getCode());
        }
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
